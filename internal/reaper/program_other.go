//go:build !amd64 && !arm64

package reaper

var program []byte
