//go:build seccomp

package seccomp

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// edition is that of what compile makes of a profile: raise it when that
// changes.
const edition = 1

// disk keeps compiled profiles in a directory for later processes; "" keeps
// none. Whoever can write there could let containers do anything, so it must
// be this user's alone. What is there and does not add up is not used: a crash
// may have left it.
type disk string

type key = [sha256.Size]byte

// keyOf names what becomes of a profile in JSON here: with this version of what
// compiles it, on this kernel, which libseccomp asks what it knows.
func keyOf(profile []byte) key {
	var kernel unix.Utsname
	_ = unix.Uname(&kernel)
	major, minor, micro := libseccomp.GetLibraryVersion()
	build := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		build = info.String()
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%d.%d.%d\n%s\n%s\n%s\n", edition, runtime.GOARCH, major, minor, micro,
		unix.ByteSliceToString(kernel.Release[:]), unix.ByteSliceToString(kernel.Version[:]), build)
	h.Write(profile)
	return key(h.Sum(nil))
}

func (d disk) file(k key) string { return filepath.Join(string(d), hex.EncodeToString(k[:])) }

// maxFile is more than a compiled profile has: the kernel takes 32 KB.
const maxFile = 1 << 20

// load gives a filter that was stored, nil if there is none.
func (d disk) load(k key) *filter {
	if d == "" || !private(string(d), unix.O_DIRECTORY) {
		return nil
	}
	fd, err := unix.Open(d.file(k), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), d.file(k))
	defer f.Close()
	if !mine(fd, unix.S_IFREG) {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil || len(b) < sha256.Size {
		return nil
	}
	sum, content := b[:sha256.Size], b[sha256.Size:]
	var stored filter
	if !bytes.Equal(sum, seal(k, content)) || json.Unmarshal(content, &stored) != nil || stored.check() != nil {
		return nil
	}
	return &stored
}

// seal is the sum of a file's content, which belongs to one key.
func seal(k key, content []byte) []byte {
	h := sha256.New()
	h.Write(k[:])
	h.Write(content)
	return h.Sum(nil)
}

// private tells whether a path is this user's alone.
func private(path string, flag int) bool {
	fd, err := unix.Open(path, flag|unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return mine(fd, unix.S_IFDIR)
}

func mine(fd int, kind uint32) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == kind && int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0
}

// store keeps a filter.
func (d disk) store(k key, f *filter) error {
	if d == "" {
		return nil
	}
	content, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if !private(string(d), unix.O_DIRECTORY) {
		return fmt.Errorf("%s is open to others", d)
	}
	d.prune()
	temp, err := os.CreateTemp(string(d), ".new-")
	if err != nil {
		return err
	}
	_, err = temp.Write(append(seal(k, content), content...))
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), d.file(k))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// prune makes room for one more: the oldest go, and so does what a killed
// process has left.
func (d disk) prune() {
	entries, _ := os.ReadDir(string(d))
	if len(entries) < limit {
		return
	}
	age := func(e os.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(age(a), age(b)) })
	for _, e := range entries[:len(entries)-limit+1] {
		_ = os.Remove(filepath.Join(string(d), e.Name()))
	}
}
