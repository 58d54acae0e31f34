package packing

// Freely changes how much every layer may unpack to.
func Freely(n int64) (back func()) {
	was := freely
	freely = n
	return func() { freely = was }
}
