package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// criuConfig is the file in a bundle in which CRIU finds options that runc has
// no words for. CriuAnnotation has to name it when the container is made.
const (
	criuConfig     = "criu.conf"
	CriuAnnotation = "org.criu.config"
)

// CriuConfig is the path to which CriuAnnotation is to be set.
func (b Bundle) CriuConfig() string { return filepath.Join(b.Dir, criuConfig) }

// CriuWork is where CRIU works for the container, and leaves its log.
func (b Bundle) CriuWork() string { return filepath.Join(b.Dir, "criu") }

// outside are those of a process's streams, 0 to 2, that are files of the
// host, as CRIU names them. It dumps no file that the container can't see,
// unless it is told that somebody will provide it again.
//
// For a restore runc provides new ones, but only for pipes, which it knows by
// their names in the images. So the files are given such names there: CRIU
// does not look at what they mean.
type outside [3]string

// outside looks at the streams. A pipe without a name is none of them.
func (p paths) outside() (outside, error) {
	var o outside
	for i, path := range []string{p.in, p.out, p.err} {
		path = strings.TrimPrefix(strings.TrimPrefix(path, "fifo://"), "file://")
		if !filepath.IsAbs(path) || nameless(path) {
			continue
		}
		name, err := criuName(path)
		if err != nil {
			return o, err
		}
		o[i] = name
	}
	return o, nil
}

// criuName names a file by its mount and inode.
func criuName(path string) (string, error) {
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

// config tells CRIU of them.
func (o outside) config() []byte {
	var b bytes.Buffer
	for _, name := range o {
		if name != "" {
			fmt.Fprintf(&b, "external %s\n", name)
		}
	}
	return b.Bytes()
}

// rename makes pipes of them in the images, and in the list that runc has
// added.
func (o outside) rename(images string) error {
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

// criuSays adds to an error what CRIU complained of last.
func criuSays(log string, err error) error {
	b, _ := os.ReadFile(log)
	last := ""
	for line := range strings.Lines(string(b)) {
		if _, complaint, ok := strings.Cut(line, "Error "); ok && !strings.Contains(complaint, "RLIMIT_NOFILE") {
			last = strings.TrimSpace(complaint)
		}
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w: criu: %s", err, last)
}
