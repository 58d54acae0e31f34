//go:build race

package wayout

// raced tells that memory is no measure.
const raced = true
