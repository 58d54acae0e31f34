package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
)

// secretFiles writes the secrets that the command mounts into dir.
func (s step) secretFiles(ctx context.Context, dir, cwd string) (list []specs.Mount, err error) {
	for n, m := range s.secrets {
		data, err := s.secret(ctx, m.SecretOpt.GetID())
		if errors.Is(err, ctor.ErrNotFound) && m.SecretOpt.GetOptional() {
			continue
		}
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "secret-"+strconv.Itoa(n))
		if err := writeSecret(file, data, m.SecretOpt); err != nil {
			return nil, err
		}
		list = append(list, handed(file, m, cwd, "ro"))
	}
	return list, nil
}

// secret asks the step's build for one.
func (s step) secret(ctx context.Context, id string) (data []byte, err error) {
	err = s.sessions.Any(ctx, s.build, func(ctx context.Context, _ string, c session.Caller) (err error) {
		data, err = secrets.GetSecret(ctx, c, id)
		return err
	})
	if errors.Is(err, secrets.ErrNotFound) {
		return nil, fmt.Errorf("secret %q is not among Options.Secrets: %w", id, ctor.ErrNotFound)
	}
	return data, err
}

func writeSecret(file string, data []byte, o *pb.SecretOpt) error {
	if err := os.WriteFile(file, data, 0o400); err != nil {
		return err
	}
	if err := os.Chmod(file, fs.FileMode(o.GetMode()&0o777)); err != nil {
		return err
	}
	return os.Lchown(file, int(o.GetUid()), int(o.GetGid()))
}

// handed is the mount by which a command has a file of this program's.
func handed(file string, m *pb.Mount, cwd string, more ...string) specs.Mount {
	return specs.Mount{
		Type: "bind", Source: file, Destination: place(m, cwd),
		Options: append([]string{"bind", "rprivate", "nosuid", "nodev", "noexec"}, more...),
	}
}
