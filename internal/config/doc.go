// Package config holds the hub's settings: one struct, its defaults and its checks.
//
// The comments of the fields of Config are the manual. Default is the only source of default
// values, and Example prints the whole file with both (a test holds the example to the struct).
//
// Load reads a file strictly, Check says everything that is wrong with it at once, and Prepare does
// what a first start needs: the data folder, and a self-signed certificate where none was given. Prepare is the only function here that writes. What is built from the settings is
// internal/server's business.
package config
