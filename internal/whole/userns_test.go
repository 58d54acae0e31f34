package whole

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// helpNested does in a user namespace what a program does with containers, and tells
// what came of it: args are a root, and an archive of an image.
func helpNested(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	defer e.Close()
	archive, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer archive.Close()
	all, err := image.Import(ctx, e, archive)
	if err != nil {
		return err
	}
	info, err := e.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Println("namespace", info.UserNamespace, "parent", info.CgroupParent != "", "snapshotter", info.Snapshotter)
	if err := lead(ctx, all[0]); err != nil {
		return err
	}
	for what, cfg := range map[string]container.Config{
		"fallback": {Spec: func(s *specs.Spec) error { s.Linux.RootfsPropagation = "rprivate"; return nil }},
		"memory":   {Limits: container.Limits{Memory: 64 << 20}},
		"user":     {User: "app"},
		"userns":   {Security: container.Security{UserNS: true}},
	} {
		cfg.Args = []string{"true"}
		c, err := all[0].Run(ctx, cfg)
		fmt.Println(what, "unavailable", errors.Is(err, ctor.ErrUnavailable))
		if err == nil {
			err = errors.Join(c.Wait(ctx), c.Close())
		}
		if err != nil && !errors.Is(err, ctor.ErrUnavailable) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return e.Close()
}

// lead is a container's life.
func lead(ctx context.Context, img *image.Image) (err error) {
	c, err := img.Run(ctx, container.Config{Keep: true, Args: []string{"nc", "-ll", "-p", "80", "-e", "cat"}, Ready: container.TCP(80)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Remove(context.WithoutCancel(ctx))) }()
	out, err := c.Command(ctx, "sh", "-c", "id -u; echo x >/dev/null && echo null").Output()
	if err != nil {
		return err
	}
	fmt.Printf("exec %q\n", out)
	if err := c.FS().WriteFile("root/file", []byte("text"), 0o600); err != nil {
		return err
	}
	b, err := c.FS().ReadFile("root/file")
	if err != nil {
		return err
	}
	fmt.Printf("file %q\n", b)
	conn, err := c.Dial(ctx, "tcp", "127.0.0.1:80")
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("echo\n")); err != nil {
		return err
	}
	var echo [5]byte
	if _, err := io.ReadFull(conn, echo[:]); err != nil {
		return err
	}
	fmt.Printf("dial %q\n", echo[:])
	top, err := c.Top(ctx)
	fmt.Println("top", len(top) > 0, err)
	_, serr := c.Stats(ctx)
	fmt.Println("stats unavailable", errors.Is(serr, ctor.ErrUnavailable))
	fmt.Println("pause unavailable", errors.Is(c.Pause(ctx), ctor.ErrUnavailable))
	return c.Stop(ctx)
}

// An ordinary user has containers in a user namespace: of many users where they are set
// aside, or of root alone. What can't be had there is refused by its name.
func TestUserNamespaces(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	self = fixture.Copied(t, self)
	bin := fixture.Readable(t)
	build := exec.Command("go", "build", "-o", bin, "github.com/ctorhq/ctor/cmd/ctor-userns")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	e := fixture.Engine(t, ctor.Config{})
	var archive bytes.Buffer
	require.NoError(t, image.Export(t.Context(), &archive, fixture.Busybox(t, e)))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "image.tar"), archive.Bytes(), 0o644))
	for flag, want := range map[string][]string{
		"-single": {"namespace single parent false snapshotter overlayfs", "user unavailable true"},
		"":        {"namespace mapped parent false snapshotter overlayfs", "user unavailable false"},
	} {
		root := t.TempDir()
		require.NoError(t, os.Chmod(filepath.Dir(root), 0o755))
		require.NoError(t, os.Chown(root, 61001, 61001))
		args := []string{filepath.Join(bin, "ctor-userns"), flag, self, filepath.Join(root, "engine"), filepath.Join(bin, "image.tar")}
		if flag == "" {
			args = append(args[:1], args[2:]...)
		}
		cmd := fixture.AsUser(t, args...)
		cmd.Env = append(os.Environ(), fixture.ProgramVar+"=nested", "TMPDIR="+root)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, line := range append(want, `exec "0\nnull\n"`, `file "text"`, `dial "echo\n"`, "top true <nil>",
			"stats unavailable true", "pause unavailable true", "memory unavailable true", "fallback unavailable false", "userns unavailable true") {
			require.Contains(t, strings.Split(string(out), "\n"), line, "%s", out)
		}
	}
}
