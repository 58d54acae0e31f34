package criu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Streams are those of a process's streams, 0 to 2, that are files of the host,
// as CRIU names them; "" is none. CRIU dumps no file that the container can't
// see, unless it is told that the file will be provided again.
//
// For a restore runc provides new ones, but only for pipes, which it knows by
// their names in the images. So the files are given such names there: CRIU
// does not look at what they mean.
type Streams [3]string

// Name gives the names of the files at paths; "" stays none.
func Name(paths [3]string) (Streams, error) {
	var o Streams
	for i, path := range paths {
		if path == "" {
			continue
		}
		name, err := nameOf(path)
		if err != nil {
			return o, err
		}
		o[i] = name
	}
	return o, nil
}

// nameOf names a file by its mount and inode.
func nameOf(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return "", err
	}
	var mount int
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "mnt_id: %d", &mount); err == nil {
			return fmt.Sprintf("file[%x:%x]", mount, st.Ino), nil
		}
	}
	return "", fmt.Errorf("the kernel does not tell the mount of %s", path)
}

// Config is a configuration that tells CRIU of them.
func (o Streams) Config() []byte {
	var b bytes.Buffer
	for _, name := range o {
		if name != "" {
			fmt.Fprintf(&b, "external %s\n", name)
		}
	}
	return b.Bytes()
}

// Rename makes pipes of them in the images, and in the list that runc has
// added.
func (o Streams) Rename(images string) error {
	files, list := filepath.Join(images, "files.img"), filepath.Join(images, "descriptors.json")
	b, err := os.ReadFile(files)
	if err != nil {
		return err
	}
	j, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	var descriptors []string
	if err := json.Unmarshal(j, &descriptors); err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	for i, name := range o {
		if name == "" || i >= len(descriptors) {
			continue
		}
		descriptors[i] = ""
		if !bytes.Contains(b, []byte(name)) {
			continue // the process has closed it, or it was renamed already
		}
		descriptors[i] = fmt.Sprintf("pipe:%0*d", len(name)-len("pipe:"), i)
		b = bytes.ReplaceAll(b, []byte(name), []byte(descriptors[i])) // of the same length
	}
	if j, err = json.Marshal(descriptors); err != nil {
		return err
	}
	if err := os.WriteFile(files, b, 0o600); err != nil {
		return err
	}
	return os.WriteFile(list, j, 0o600)
}
