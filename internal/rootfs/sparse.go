package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
)

// A tar has a sparse file as its extents with a list of where they belong:
// GNU's format 1.0 (tar(1), "Storing Sparse Files"), which package archive/tar
// reads but does not write. The records stand in the file's pax header.
const (
	gnuSparse   = "GNU.sparse."
	sparseMajor = gnuSparse + "major"
	sparseMinor = gnuSparse + "minor"
	sparseName  = gnuSparse + "name"
	sparseSize  = gnuSparse + "realsize"
)

// isSparse tells of a tar's file whether it was written with its holes.
func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if len(key) > len(gnuSparse) && key[:len(gnuSparse)] == gnuSparse {
			return true
		}
	}
	return false
}

const (
	blockSize = 512       // of a tar
	maxOctal7 = 1<<21 - 1 // the largest number in a header's field of 8 bytes
	maxOctal  = 1<<33 - 1 // and of 12
)

// sparse writes a file that has holes.
func (p *packer) sparse(hdr *tar.Header, f *os.File, list []extent) error {
	if last := len(list) - 1; last < 0 || list[last].end < hdr.Size {
		list = append(list, extent{hdr.Size, hdr.Size}) // GNU tar would stop where the last one ends
	}
	where := fmt.Appendf(nil, "%d\n", len(list))
	size := int64(0)
	for _, e := range list {
		where = fmt.Appendf(where, "%d\n%d\n", e.start, e.end-e.start)
		size += e.end - e.start
	}
	where = append(where, make([]byte, padding(int64(len(where))))...)
	size += int64(len(where))
	heads, err := sparseHeads(hdr, size, p.holed)
	if err != nil {
		return err
	}
	p.holed++
	if err := p.tar.Flush(); err != nil {
		return err
	}
	for _, b := range [][]byte{heads, where} {
		if _, err := p.out.Write(b); err != nil {
			return err
		}
	}
	for _, e := range list {
		if err := p.copy(p.out, io.NewSectionReader(f, e.start, e.end-e.start), e.end-e.start); err != nil {
			return err
		}
	}
	_, err = p.out.Write(make([]byte, padding(size)))
	return err
}

// padding is what lacks to a whole block.
func padding(size int64) int64 { return -size & (blockSize - 1) }

// sparseHeads makes the pax header and the header of a sparse file that takes up
// size bytes in the tar. n tells it from others for a reader that does not know
// the format: that finds the extents in a file of this name.
func sparseHeads(hdr *tar.Header, size int64, n int) ([]byte, error) {
	records := maps.Clone(hdr.PAXRecords)
	if records == nil {
		records = map[string]string{}
	}
	records[sparseMajor], records[sparseMinor] = "1", "0"
	records[sparseName], records[sparseSize] = hdr.Name, strconv.FormatInt(hdr.Size, 10)
	records["mtime"] = strconv.FormatInt(hdr.ModTime.Unix(), 10)
	if hdr.ModTime.Unix() > 0 { // before 1970 a fraction would count the other way
		records["mtime"] += fmt.Sprintf(".%09d", hdr.ModTime.Nanosecond())
	}
	short := tar.Header{
		Typeflag: tar.TypeReg, Name: fmt.Sprintf("GNUSparseFile.0/%d", n), Mode: hdr.Mode, Format: tar.FormatUSTAR,
	}
	for _, field := range []struct {
		key     string
		n, most int64
		set     func(n int64)
	}{
		{"size", size, maxOctal, func(n int64) { short.Size = n }},
		{"uid", int64(hdr.Uid), maxOctal7, func(n int64) { short.Uid = int(n) }},
		{"gid", int64(hdr.Gid), maxOctal7, func(n int64) { short.Gid = int(n) }},
	} {
		if field.n > field.most {
			records[field.key] = strconv.FormatInt(field.n, 10)
			continue
		}
		field.set(field.n)
	}
	// Package tar writes these records for a whole archive alone. The header is
	// the same but for its type.
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: records}); err != nil {
		return nil, err
	}
	b.Write(make([]byte, padding(int64(b.Len())))) // which it would write with what comes next
	retype(b.Bytes()[:blockSize], tar.TypeXHeader)
	err := tar.NewWriter(&b).WriteHeader(&short)
	return b.Bytes(), err
}

// retype changes the type of a header, and its checksum (POSIX pax, "ustar
// Interchange Format").
func retype(header []byte, to byte) {
	const typeflag = 156
	header[typeflag] = to
	sum := header[148:156]
	copy(sum, "        ")
	n := 0
	for _, c := range header {
		n += int(c)
	}
	copy(sum, fmt.Sprintf("%06o\x00 ", n))
}
