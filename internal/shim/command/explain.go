package command

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/host"
)

// said is the command's own words, with the class that they mean.
type said struct {
	words string
	class error // never nil: what unwraps to nil has a shim panic that sends it
}

func (s *said) Error() string { return s.words }
func (s *said) Unwrap() error { return s.class }

// classes are told by what runc 1.1 to 1.5 and crun 1.8 say, in small letters:
// crun has the C library's words, "Permission denied". The first that fits is
// it.
var classes = []struct {
	words string
	class error
}{
	{"unknown command", errdefs.ErrNotImplemented}, // a verb that crun was built without
	{"container does not exist", errdefs.ErrNotFound},
	{"not running", errdefs.ErrFailedPrecondition},
	{"not paused", errdefs.ErrFailedPrecondition},
	{"in a stopped container", errdefs.ErrFailedPrecondition},
	{"in a paused container", errdefs.ErrFailedPrecondition},
	{"is paused", errdefs.ErrFailedPrecondition},
	{"cannot start", errdefs.ErrFailedPrecondition},
	{"executable file not found", exec.ErrNotFound},
	{"not found in $path", exec.ErrNotFound},
	{"no such file or directory", fs.ErrNotExist},
	{"permission denied", fs.ErrPermission},
	{"open executable: operation not permitted", fs.ErrPermission},
}

// explain puts the command's own words, what it logged last, in place of its
// exit status.
func explain(log string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w (%w): %s", err, errdefs.ErrUnavailable, host.Provide("runc"))
	}
	words := last(log)
	if words == "" {
		if class := classOf(err.Error()); class != nil {
			return fmt.Errorf("%w (%w)", err, class)
		}
		return err
	}
	for _, prefix := range []string{"runc create failed: ", "exec failed: ", "unable to start container process: "} {
		words = strings.TrimPrefix(words, prefix)
	}
	class := classOf(words)
	if class == nil {
		return errors.New(words)
	}
	return &said{words: words, class: class}
}

// classOf is what words mean; nil is not known.
func classOf(words string) error {
	words = strings.ToLower(words)
	for _, c := range classes {
		if strings.Contains(words, c.words) {
			return c.class
		}
	}
	return nil
}

// last is the last error in a log.
func last(log string) string {
	f, err := os.Open(log)
	if err != nil {
		return ""
	}
	defer f.Close()
	var words string
	for s := bufio.NewScanner(f); s.Scan(); {
		var l struct{ Level, Msg string }
		if json.Unmarshal(s.Bytes(), &l) == nil && l.Level == "error" && l.Msg != "" {
			words = l.Msg
		}
	}
	return words
}
