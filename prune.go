package ctor

// PruneReport is what was removed since nothing needed it, or, of a dry run, what
// would be.
type PruneReport struct {
	Removed []string // names, in their order
	Bytes   int64    // of the disk that are free by that
}
