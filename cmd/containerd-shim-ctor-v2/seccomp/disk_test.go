//go:build seccomp

package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/stretchr/testify/require"
)

// The test binary compiles, executed again.
func TestMain(m *testing.M) {
	Hook()
	os.Exit(m.Run())
}

func profile() *configs.Seccomp {
	return &configs.Seccomp{
		DefaultAction: configs.Errno,
		Syscalls:      []*configs.Syscall{{Name: "read", Action: configs.Allow}, {Name: "write", Action: configs.Allow}},
	}
}

func ready(t *testing.T, dir string) string {
	t.Helper()
	c := Cache{Dir: dir}
	p, err := c.Ready(t.Context(), profile())
	require.NoError(t, err)
	return p.Syscalls[0].Name
}

func keyOfProfile(t *testing.T) key {
	t.Helper()
	b, err := json.Marshal(profile())
	require.NoError(t, err)
	return keyOf(b)
}

// What one process has compiled another one uses.
func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	compiled := ready(t, dir)
	require.Equal(t, compiled, ready(t, ""), "without a disk")
	require.Equal(t, compiled, ready(t, dir))
	d, k := disk(dir), keyOfProfile(t)
	st, err := os.Stat(d.file(k))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode())
	st, err = os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())

	marked := &filter{Program: []byte("8 bytes.")}
	require.NoError(t, d.store(k, marked))
	require.Equal(t, encode(marked.Program), ready(t, dir), "it is not compiled")
	require.Nil(t, d.load(keyOf([]byte("another profile"))))
	require.NoError(t, os.Rename(d.file(k), d.file(keyOf([]byte("another profile")))))
	require.Nil(t, d.load(keyOf([]byte("another profile"))), "a filter belongs to its profile")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left of writing")
}

// What is not as it was written, or could be somebody else's, is not used: the
// profile is compiled again.
func TestDiskDamaged(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	compiled := ready(t, dir)
	d, k := disk(dir), keyOfProfile(t)
	good, err := os.ReadFile(d.file(k))
	require.NoError(t, err)
	write := func(b []byte) func(*testing.T) {
		return func(t *testing.T) { require.NoError(t, os.WriteFile(d.file(k), b, 0o600)) }
	}
	flipped := func(i int) []byte {
		b := append([]byte(nil), good...)
		b[i] ^= 1
		return b
	}
	for name, damage := range map[string]func(*testing.T){
		"nothing":        write(nil),
		"short":          write(good[:20]),
		"cut":            write(good[:len(good)-1]),
		"zeros":          write(make([]byte, len(good))),
		"longer":         write(append(append([]byte(nil), good...), ' ')),
		"another sum":    write(flipped(3)),
		"another byte":   write(flipped(100)),
		"no filter":      write(append(seal(k, []byte("{}")), "{}"...)),
		"half a program": write(append(seal(k, []byte(`{"Program":"AAAA"}`)), `{"Program":"AAAA"}`...)),
		"no JSON":        write(append(seal(k, []byte("x")), 'x')),
		"written by a group": func(t *testing.T) {
			require.NoError(t, os.Chmod(d.file(k), 0o620))
		},
		"another user's": func(t *testing.T) { require.NoError(t, os.Chown(d.file(k), 1, 1)) },
		"a link": func(t *testing.T) {
			require.NoError(t, os.Rename(d.file(k), d.file(k)+".x"))
			require.NoError(t, os.Symlink(d.file(k)+".x", d.file(k)))
		},
		"a directory": func(t *testing.T) {
			require.NoError(t, os.Remove(d.file(k)))
			require.NoError(t, os.Mkdir(d.file(k), 0o700))
		},
		"a directory of all": func(t *testing.T) {
			require.NoError(t, os.Chmod(dir, 0o777))
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(d.file(k)))
			require.NoError(t, os.WriteFile(d.file(k), good, 0o600))
			require.NotNil(t, d.load(k))
			damage(t)
			require.Nil(t, d.load(k))
			require.Equal(t, compiled, ready(t, dir))
			require.NoError(t, os.Chmod(dir, 0o700))
		})
	}
}

// There is a bound: the oldest goes.
func TestDiskPrunes(t *testing.T) {
	d := disk(t.TempDir())
	require.NoError(t, os.Chmod(string(d), 0o700))
	var keys []key
	for i := range limit + 5 {
		k := keyOf(fmt.Append(nil, i))
		require.NoError(t, d.store(k, &filter{Program: make([]byte, 8)}))
		at := time.Unix(int64(i), 0)
		require.NoError(t, os.Chtimes(d.file(k), at, at))
		keys = append(keys, k)
	}
	entries, err := os.ReadDir(string(d))
	require.NoError(t, err)
	require.Len(t, entries, limit)
	require.Nil(t, d.load(keys[4]))
	require.NotNil(t, d.load(keys[5]))
}
