package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// Docker Hub's entry in Docker's files bears the name of its first API.
const hubKey = "https://index.docker.io/v1/"

// helperLimit bounds a credential helper where ctx doesn't: long enough for a
// person to type a passphrase.
const helperLimit = time.Minute

// loginOf returns what a login of docker's or podman's left for a repository
// on host.
func loginOf(ctx context.Context, host, repo string) (Credential, error) {
	for _, path := range loginFiles() {
		l, err := readLogins(path)
		if err != nil {
			return Credential{}, err
		}
		c, err := l.find(ctx, host, repo)
		if err != nil || c != (Credential{}) {
			return c, err
		}
	}
	return Credential{}, nil
}

// loginFiles returns where logins may be, the first to look at first. In a
// process without a home there are fewer.
func loginFiles() []string {
	var files []string
	home, _ := os.UserHomeDir()
	add := func(dir string, name ...string) {
		if dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, name...)...))
		}
	}
	// The first of these that is set.
	of := func(dir string, below ...string) string {
		if dir == "" && below[0] != "" {
			dir = filepath.Join(below...)
		}
		return dir
	}
	add(os.Getenv("REGISTRY_AUTH_FILE"))
	add(of(os.Getenv("DOCKER_CONFIG"), home, ".docker"), "config.json")
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add("/run/containers", strconv.Itoa(os.Getuid()), "auth.json")
	}
	add(of(os.Getenv("XDG_CONFIG_HOME"), home, ".config"), "containers", "auth.json")
	return files
}

// logins is one file of them, in the format of docker's config.json.
type logins struct {
	path  string
	Auths map[string]struct {
		Auth, Username, Password, IdentityToken, RegistryToken string
	}
	CredsStore  string
	CredHelpers map[string]string
}

// readLogins reads a file, which need not be there.
func readLogins(path string) (*logins, error) {
	l := logins{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return &l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("%s is malformed: %w", path, err)
	}
	return &l, nil
}

// find returns the credential for a repository: of the entry with most of its
// name, where those of whole hosts may be a helper's to keep.
func (l *logins) find(ctx context.Context, host, repo string) (Credential, error) {
	hosts := []string{host}
	if host == "docker.io" || host == "registry-1.docker.io" {
		hosts = []string{hubKey, "docker.io", "index.docker.io"}
	}
	for name := repo; name != ""; name = parent(name) {
		if c, err := l.entry(host + "/" + name); err != nil || c != (Credential{}) {
			return c, err
		}
	}
	helper := l.CredsStore
	for _, key := range hosts {
		if h := l.CredHelpers[key]; h != "" {
			helper = h
			break
		}
	}
	if strings.ContainsAny(helper, `/\`) {
		return Credential{}, fmt.Errorf("%s: %q is no name of a credential helper", l.path, helper)
	}
	if helper != "" {
		if c, err := askHelper(ctx, helper, l.path, hosts[0]); err != nil || c != (Credential{}) {
			return c, err
		}
	}
	for _, key := range hosts {
		if c, err := l.entry(key); err != nil || c != (Credential{}) {
			return c, err
		}
	}
	return Credential{}, nil
}

// parent is a name without its last part.
func parent(name string) string { return name[:max(strings.LastIndexByte(name, '/'), 0)] }

// entry returns the entry under a key, which old files may have as a URL.
func (l *logins) entry(key string) (Credential, error) {
	e, ok := l.Auths[key]
	if !ok {
		for _, k := range slices.Sorted(maps.Keys(l.Auths)) {
			if bare(k) == bare(key) {
				e, ok = l.Auths[k], true
				break
			}
		}
	}
	if !ok {
		return Credential{}, nil
	}
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		pair, err := base64.StdEncoding.DecodeString(e.Auth)
		user, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			// Not what it says, which may be a secret.
			return Credential{}, fmt.Errorf("the entry for %q in %s is malformed; run \"docker login\" again", key, l.path)
		}
		// Some tools write C's end of a string.
		c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	}
	return c, nil
}

// bare is a key without scheme and version of the API.
func bare(key string) string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	key = strings.TrimSuffix(key, "/")
	return strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
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
