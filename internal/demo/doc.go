// Package demo plays the whole loop before somebody's eyes, all of it real: the hub is this same binary
// started as a child process with serve; the identity provider is internal/stage/idp, on the public SDK
// alone; three small web applications keep their own sessions; browsers that know nothing of the hub
// try their cookies before and after; everything speaks https under a CA made for the occasion.
//
//	scene.go   the scene itself, step by step, and what it must show
//	set.go     the set: CA, sites, identity provider, hub, and their settings
//	break.go   what goes wrong on purpose, and how it is noticed
//	result.go  the JSON result
//	print.go   what a person sees
package demo
