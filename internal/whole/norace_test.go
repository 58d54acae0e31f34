//go:build !race

package whole

// raced tells that memory is no measure.
const raced = false
