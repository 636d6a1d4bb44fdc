// Package policies holds the starter templates: one folder each, policy.yaml beside tests.yaml.
// It is data; internal/flow/decide reads and runs it.
package policies
