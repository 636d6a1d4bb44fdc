// Package bench measures a hub from outside, beside its floors. Each run starts its own hub process,
// receivers, apps and load on loopback; nothing is called in-process past its door.
//
//	deliver  POST /api/v1/signals with do: transmit, closed loop: SETs delivered per second
//	ingest   the same door at a steady rate: time to the acknowledgement, and to a receiver
//	loop     a signal in by push, one app's session ended and proven, the receipt accepted
//	kill     the loop and deliveries while the hub is killed at named points and at random ones
//
// The floor is taken in slices that alternate with the load, so that both see the same machine: raw
// signatures of crypto/* per second with GOMAXPROCS goroutines, bare HTTP pushes per second over TLS,
// and the p50 of a 4 KiB write with fsync. The median of five slices counts. A run with loss exits 1
// and prints no ratio.
package bench
