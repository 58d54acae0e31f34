package apparmor

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/host"
)

// The profile is loaded where it is not, and what keeps it from that is told.
func TestEnsure(t *testing.T) {
	loaded := ""
	load := func(text string) error { loaded = text; return nil }
	name, err := ensure(func(string) (bool, error) { return true, nil }, load)
	require.NoError(t, err)
	require.Equal(t, Name, name)
	require.Empty(t, loaded)

	absent := func(string) (bool, error) { return false, nil }
	name, err = ensure(absent, load)
	require.NoError(t, err)
	require.Equal(t, Name, name)
	require.Contains(t, loaded, "profile ctor-default flags=(attach_disconnected,mediate_deleted) {")
	for _, wall := range []string{"deny mount,", "deny @{PROC}/sysrq-trigger rwklx,", "deny @{PROC}/kcore rwklx,", "deny /sys/firmware/** rwklx,", "deny /sys/kernel/security/** rwklx,"} {
		require.Contains(t, loaded, wall, "as Docker's")
	}

	for says, err := range map[string]error{
		"AppArmor is on, and there is no apparmor_parser on PATH to load containers' profile with (unavailable): apt-get install apparmor": &exec.Error{Name: "apparmor_parser", Err: exec.ErrNotFound},
		"AppArmor is on, and containers' profile can't be loaded (exit status 1: no) (unavailable): aa-status":                             errors.New("exit status 1: no"),
	} {
		_, err := ensure(absent, func(string) error { return fmt.Errorf("%w", err) })
		require.EqualError(t, err, says)
		require.ErrorIs(t, err, errdefs.ErrUnavailable)
	}
	_, err = ensure(func(string) (bool, error) { return false, fs.ErrNotExist }, load)
	require.EqualError(t, err, "AppArmor is on, and what profiles there are can't be seen (unavailable): mount -t securityfs securityfs /sys/kernel/security")
}

// The parser, where there is one, takes the profile's words.
func TestParse(t *testing.T) {
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		t.Skip("no apparmor_parser: apt-get install apparmor")
	}
	_, _ = ensure(func(string) (bool, error) { return false, nil }, func(text string) error {
		cmd := exec.Command("apparmor_parser", "--skip-kernel-load", "--skip-cache")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		go func() {
			fmt.Fprint(in, text)
			in.Close()
		}()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return nil
	})
}

func TestProfileHere(t *testing.T) {
	name, err := Profile()
	if !host.AppArmor() {
		require.NoError(t, err)
		require.Empty(t, name)
		return
	}
	if err == nil {
		require.Equal(t, Name, name)
	}
}
