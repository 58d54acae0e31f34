package host

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// Hosts with AppArmor on, off and without, and with SELinux.
func TestLSM(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	files := host(t, "systemd")
	f := survey(files, nil)
	require.False(t, f.AppArmor)
	require.False(t, f.SELinux)
	files["sys/module/apparmor/parameters/enabled"] = file("N\n")
	require.False(t, survey(files, nil).AppArmor)
	files["sys/module/apparmor/parameters/enabled"] = file("Y\n")
	require.True(t, survey(files, nil).AppArmor)
	files["sys/fs/selinux/enforce"] = file("0")
	require.True(t, survey(files, nil).SELinux)

	_, err := hasProfile(files, "ctor-default")
	require.ErrorIs(t, err, fs.ErrNotExist)
	files["sys/kernel/security/apparmor/profiles"] = file("man_groff (enforce)\nctor-default (complain)\nctor-default-2 (enforce)\n/usr/bin/man (enforce)\n")
	for name, want := range map[string]bool{"man_groff": true, "/usr/bin/man": true, "ctor-default": false, "ctor": false} {
		got, err := hasProfile(files, name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}
