package layer

// Limits bound what one layer may unpack to, which is a stranger's word until it is
// unpacked: a few kilobytes may be terabytes, or millions of files. The zero value is
// the defaults, and so is each field that is 0; a negative one is ErrInvalidArgument.
// Where they are kept is for the package that unpacks: see image.PullOptions.
//
// A containerd that runs, which ctor.Dial uses, unpacks by itself, and knows no such
// limits.
type Limits struct {
	// Bytes is how long the layer's tar may be, and how many its files may have
	// together, holes included. 0 means 1 TiB.
	Bytes int64

	// Entries is how many the tar may have: files, directories, links, and names that
	// are removed. 0 means 2,000,000.
	Entries int64

	// Ratio is how many times the size of its blob the tar may have, from 4 GiB on. 0
	// means 200; programs and their data unpack to two or three times their size.
	Ratio int64
}
