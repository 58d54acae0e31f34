package spec

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/apparmor"
	"github.com/ctorhq/ctor/internal/host"
)

// unconfined is a word for no profile.
const unconfined = "unconfined"

// Here gives the walls as this host has them: the AppArmor profile is the one that
// holds here, and a wall that the host can't give is an error.
func (w Security) Here() (_ Security, err error) {
	if w.SELinux != "" {
		if strings.ContainsRune(w.SELinux, 0) || strings.Count(w.SELinux, ":") < 3 {
			return w, fmt.Errorf("SELinux label %q: it must be user:role:type:level: %w", w.SELinux, errdefs.ErrInvalidArgument)
		}
		if !host.SELinux() {
			return w, fmt.Errorf("SELinux label %q: this host has SELinux off (%w): boot it with security=selinux", w.SELinux, errdefs.ErrUnavailable)
		}
	}
	w.AppArmor, err = w.appArmor()
	return w, err
}

// appArmor is the profile of the container's processes; "" is none.
func (w Security) appArmor() (string, error) {
	switch {
	case w.AppArmor == "" && !w.Privileged:
		name, _ := apparmor.Profile() // Engine.Info tells why there is none
		return name, nil
	case w.AppArmor == "" || w.AppArmor == unconfined:
		return "", nil
	case !host.AppArmor():
		return "", fmt.Errorf("AppArmor profile %q: this host has AppArmor off (%w): boot it with apparmor=1 security=apparmor", w.AppArmor, errdefs.ErrUnavailable)
	}
	has, err := host.HasProfile(w.AppArmor)
	if err == nil && !has {
		return "", fmt.Errorf("AppArmor profile %q: this host has not loaded it: %w", w.AppArmor, errdefs.ErrNotFound)
	}
	return w.AppArmor, nil
}
