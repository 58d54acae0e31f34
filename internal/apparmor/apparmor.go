// Package apparmor gives containers an AppArmor profile, where the kernel has
// AppArmor on: Docker's, as containerd carries it, by a name of our own.
package apparmor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/contrib/apparmor"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/host"
)

// Name is that of the profile.
const Name = "ctor-default"

var on = sync.OnceValue(host.AppArmor)

// Profile gives the name of the profile for containers, and loads it if it is
// not there: it is gone with the host's restart. "" without an error is that the
// kernel has AppArmor off. An error says what keeps it from being loaded, with the
// command that mends it.
func Profile() (string, error) {
	if !on() {
		return "", nil
	}
	return ensure(host.HasProfile, load)
}

// loading is held while the profile is loaded: once is enough.
var loading sync.Mutex

func ensure(has func(string) (bool, error), load func(text string) error) (string, error) {
	loading.Lock()
	defer loading.Unlock()
	there, err := has(Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", unable("what profiles there are can't be seen", "mount -t securityfs securityfs /sys/kernel/security")
	case err != nil:
		return "", fmt.Errorf("AppArmor: %w", err)
	case there:
		return Name, nil
	}
	text, err := apparmor.DumpDefaultProfile(Name)
	if err == nil {
		err = load(text)
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", unable("there is no apparmor_parser on PATH to load containers' profile with", "apt-get install apparmor")
	case err != nil:
		return "", unable(fmt.Sprintf("containers' profile can't be loaded (%v)", err), "aa-status")
	}
	return Name, nil
}

// load has the kernel take a profile, or replace it.
func load(text string) error {
	cmd := exec.Command("apparmor_parser", "--skip-cache", "--replace")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apparmor_parser: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func unable(why, cure string) error {
	return fmt.Errorf("AppArmor is on, and %s (%w): %s", why, errdefs.ErrUnavailable, cure)
}
