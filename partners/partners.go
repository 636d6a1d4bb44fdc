// Package partners holds what is known of each partner product as data: NAME/profile.yaml, what it does and needs, and
// NAME/guide.md, the hand-written steps. The room internal/partner reads it.
package partners

import "embed"

// Files are the folders of the partners.
//
//go:embed */*
var Files embed.FS
