package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Docker Hub's entry in Docker's files bears the name of its first API.
const hubKey = "https://index.docker.io/v1/"

// helperLimit bounds a credential helper where ctx doesn't: long enough for
// somebody to type a passphrase.
const helperLimit = time.Minute

// dockerCredential returns what "docker login" left for host.
func dockerCredential(ctx context.Context, host string) (Credential, error) {
	path, ok := dockerConfig()
	if !ok {
		return Credential{}, nil
	}
	keys := []string{host}
	if host == "docker.io" || host == "registry-1.docker.io" {
		keys = []string{hubKey, "docker.io", "index.docker.io"}
	}
	helper, err := dockerHelper(path, keys)
	if err != nil {
		return Credential{}, err
	}
	if helper != "" {
		return askHelper(ctx, helper, path, keys[0])
	}
	store, err := credentials.NewStore(path, credentials.StoreOptions{})
	if err != nil {
		return Credential{}, fmt.Errorf("%s is malformed", path)
	}
	for _, key := range keys {
		c, err := store.Get(ctx, key)
		if err != nil {
			// oras' error may quote the secret it could not split.
			return Credential{}, fmt.Errorf("the entry for %q in %s is malformed; run \"docker login\" again", key, path)
		}
		got := Credential{Username: c.Username, Password: c.Password, IdentityToken: c.RefreshToken, RegistryToken: c.AccessToken}
		if got != (Credential{}) {
			return got, nil
		}
	}
	return Credential{}, nil
}

// dockerConfig returns the path of Docker's file. There is none in a process
// without a home.
func dockerConfig() (string, bool) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json"), true
}

// dockerHelper returns the helper that Docker's file names for the first of
// keys that has one, or for all, or "" if it names none.
func dockerHelper(path string, keys []string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var config struct {
		CredsStore  string            `json:"credsStore"`
		CredHelpers map[string]string `json:"credHelpers"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("%s is malformed: %w", path, err)
	}
	helper := config.CredsStore
	for _, key := range keys {
		if h := config.CredHelpers[key]; h != "" {
			helper = h
			break
		}
	}
	if strings.ContainsAny(helper, `/\`) {
		return "", fmt.Errorf("%s: %q is no name of a credential helper", path, helper)
	}
	return helper, nil
}

// askHelper runs a helper: the server's name on its standard input, JSON on
// its standard output. oras can do this too, but then a helper that leaves a
// child behind is waited for without end, and its standard error is written
// to that of this program.
func askHelper(ctx context.Context, helper, path, key string) (Credential, error) {
	name := "docker-credential-" + helper
	ctx, cancel := context.WithTimeoutCause(ctx, helperLimit, errdefs.ErrUnavailable)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, "get")
	cmd.Stdin = strings.NewReader(key)
	cmd.WaitDelay = 100 * time.Millisecond
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return Credential{}, fmt.Errorf("%s, which %s names, is not on PATH: install it, or remove it from that file and run \"docker login\"", name, path)
	case ctx.Err() != nil:
		return Credential{}, fmt.Errorf("%s gave no answer: %w", name, context.Cause(ctx))
	case err != nil:
		// By its protocol a helper says on standard output why it failed.
		said := string(bytes.TrimSpace(out))
		if strings.Contains(said, "credentials not found") {
			return Credential{}, nil
		}
		if said == "" {
			said = err.Error()
		}
		return Credential{}, fmt.Errorf("%s: %s", name, said)
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out, &answer) != nil {
		return Credential{}, fmt.Errorf("%s: the answer is not JSON", name) // and may be a secret
	}
	if answer.Username == "<token>" {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}
