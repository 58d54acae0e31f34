package host

import (
	"io/fs"
	"os"
	"slices"
	"strings"
)

// AppArmor tells whether the kernel has AppArmor on.
func AppArmor() bool { return appArmor(os.DirFS("/")) }

func appArmor(root fs.FS) bool {
	return slices.Equal(words(root, "sys/module/apparmor/parameters/enabled"), []string{"Y"})
}

// HasProfile reports whether AppArmor has a profile of that name, and enforces
// it. Where that can't be seen the error is fs.ErrNotExist.
func HasProfile(name string) (bool, error) { return hasProfile(os.DirFS("/"), name) }

func hasProfile(root fs.FS, name string) (bool, error) {
	b, err := fs.ReadFile(root, "sys/kernel/security/apparmor/profiles")
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == name+" (enforce)" {
			return true, nil
		}
	}
	return false, err
}

// SELinux tells whether the kernel has SELinux on.
func SELinux() bool { return seLinux(os.DirFS("/")) }

// seLinux tells whether the kernel has SELinux on.
func seLinux(root fs.FS) bool { return has(root, "sys/fs/selinux/enforce") }
