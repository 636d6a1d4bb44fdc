package ssftest_test

import (
	"testing"

	"countersign/ssftest"
	"countersign/transmitter"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	ssftest.StoreSuite(t, func(*testing.T) transmitter.Store { return new(transmitter.Memory) })
}
