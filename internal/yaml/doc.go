// Package yaml is the one strict decoder for the configuration file, resources, packs and policies.
//
// It reads the YAML 1.2 core schema: on, off, yes, no and dates are text. Anchors, aliases, tags, merge
// keys and duplicate keys are refused, and so are unknown keys, with line, column and the nearest known
// key. Values become JSON and are decoded by the json tags of the target, so that a document means the
// same whether it came as YAML or as JSON. Nothing here knows what a key means; internal/resource does.
package yaml
