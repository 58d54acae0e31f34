package layer

import "fmt"

// Change is one difference between two file systems, such as a container's and
// its image's.
type Change struct {
	// Path is slash-separated, clean, and starts at the root: /etc/passwd.
	Path string
	// Kind says what happened to it; the zero ChangeKind means that nothing is
	// known.
	Kind ChangeKind
}

// String returns the change as docker diff prints it: a letter and the path, as
// in "A /etc/motd". A modified path has the letter C.
func (c Change) String() string {
	letter := "?"
	switch c.Kind {
	case Added:
		letter = "A"
	case Modified:
		letter = "C"
	case Deleted:
		letter = "D"
	}
	return letter + " " + c.Path
}

// ChangeKind is what happened to a path: OCI image-spec, layer.md, "Change Types".
type ChangeKind int

const (
	// Added means that the path is new.
	Added ChangeKind = iota + 1
	// Modified means that its content or attributes are not those it had.
	Modified
	// Deleted means that it is gone, with all that was below it.
	Deleted
)

// String returns the kind's name in lower case: "added".
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Modified:
		return "modified"
	case Deleted:
		return "deleted"
	}
	return fmt.Sprintf("ChangeKind(%d)", int(k))
}
