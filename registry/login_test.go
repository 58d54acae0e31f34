package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// dockerConfig writes Docker's file and returns its path.
func dockerConfig(t *testing.T, format string, arg ...any) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	path := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, format, arg...), 0o600))
	return path
}

// helper puts a credential helper on PATH, which is a shell script.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "docker-credential-"+name)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func pingAsDocker(ctx context.Context, t *testing.T, srv *registrytest.Server) error {
	t.Helper()
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	return r.Ping(ctx)
}

func TestDockerConfig(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3:cret"})
	auth := base64.StdEncoding.EncodeToString([]byte("alice:s3:cret"))
	for name, config := range map[string]string{
		"auth":         fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, srv.Host, auth),
		"old key":      fmt.Sprintf(`{"auths":{"http://%s/v1/":{"auth":%q}}}`, srv.Host, auth),
		"plain fields": fmt.Sprintf(`{"auths":{%q:{"username":"alice","password":"s3:cret"}}}`, srv.Host),
		"much more":    fmt.Sprintf(`{"auths":{"x.y":{},%q:{"auth":%q}},"credHelpers":{"a.b":"none"},"HttpHeaders":{}}`, srv.Host, auth),
	} {
		t.Run(name, func(t *testing.T) {
			dockerConfig(t, "%s", config)
			require.NoError(t, pingAsDocker(t.Context(), t, srv))
		})
	}
	t.Run("home", func(t *testing.T) {
		path := dockerConfig(t, `{"auths":{%q:{"auth":%q}}}`, srv.Host, auth)
		home := t.TempDir()
		require.NoError(t, os.Rename(filepath.Dir(path), filepath.Join(home, ".docker")))
		t.Setenv("DOCKER_CONFIG", "")
		t.Setenv("HOME", home)
		require.NoError(t, pingAsDocker(t.Context(), t, srv))
	})
}

// TestDockerConfigOfHub: there the key is the URL of an API long gone, or in a
// file that was written by hand a name.
func TestDockerConfigOfHub(t *testing.T) {
	helper(t, "test", `read host; echo "{\"Username\":\"alice\",\"Secret\":\"$host\"}"`)
	for config, password := range map[string]string{
		`{"auths":{"https://index.docker.io/v1/":{"username":"alice","password":"url"}}}`: "url",
		`{"auths":{"docker.io":{"username":"alice","password":"name"}}}`:                  "name",
		`{"credHelpers":{"docker.io":"test"}}`:                                            "https://index.docker.io/v1/",
		`{"credsStore":"test"}`:                                                           "https://index.docker.io/v1/",
	} {
		dockerConfig(t, "%s", config)
		r, err := registry.New("docker.io", &registry.Options{
			Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				require.Equal(t, "registry-1.docker.io", req.URL.Host)
				resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: http.NoBody, Request: req}
				resp.Header.Set("WWW-Authenticate", `Basic realm="Docker Hub"`)
				if u, p, ok := req.BasicAuth(); ok {
					require.Equal(t, "alice "+password, u+" "+p)
					resp.StatusCode = http.StatusOK
				}
				return resp, nil
			}),
		})
		require.NoError(t, err)
		require.NoError(t, r.Ping(t.Context()))
	}
}

func TestDockerConfigWithoutEntry(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	for name, prepare := range map[string]func(t *testing.T){
		"no file":       func(t *testing.T) { t.Setenv("DOCKER_CONFIG", t.TempDir()+"/none") },
		"no home":       func(t *testing.T) { t.Setenv("DOCKER_CONFIG", ""); t.Setenv("HOME", "") },
		"empty file":    func(t *testing.T) { dockerConfig(t, " \n") },
		"empty object":  func(t *testing.T) { dockerConfig(t, "{}") },
		"another entry": func(t *testing.T) { dockerConfig(t, `{"auths":{"ghcr.io":{"auth":"YTpi"}}}`) },
	} {
		t.Run(name, func(t *testing.T) {
			prepare(t)
			err := pingAsDocker(t.Context(), t, srv)
			require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
			require.ErrorContains(t, err, `no credentials; run "docker login `+srv.Host)
		})
	}
}

func TestDockerConfigMalformed(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	secret := base64.StdEncoding.EncodeToString([]byte("s3cret-without-colon"))
	for name, config := range map[string]string{
		"not JSON":     `{"auths":`,
		"no colon":     fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, srv.Host, secret),
		"no base64":    fmt.Sprintf(`{"auths":{%q:{"auth":"s3cret!"}}}`, srv.Host),
		"not a string": `{"credsStore":5}`,
		"auths":        `{"auths":["s3cret"]}`,
		"a path":       `{"credsStore":"x/../../../../tmp/evil"}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := dockerConfig(t, "%s", config)
			err := pingAsDocker(t.Context(), t, srv)
			require.ErrorContains(t, err, "credentials for "+srv.Host+": ")
			require.ErrorContains(t, err, path)
			require.NotContains(t, fmt.Sprintf("%+v", err), "s3cret")
		})
	}
}

func TestCredentialHelper(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	script := fmt.Sprintf(`read host
[ "$1 $host" = "get %s" ] || { echo "asked for $1 $host"; exit 1; }
echo warning on stderr >&2
echo '{"ServerURL":"x","Username":"alice","Secret":"s3cret"}'
`, srv.Host)
	t.Run("for all", func(t *testing.T) {
		dockerConfig(t, `{"credsStore":"test"}`)
		helper(t, "test", script)
		require.NoError(t, pingAsDocker(t.Context(), t, srv))
	})
	t.Run("for the host", func(t *testing.T) {
		dockerConfig(t, `{"credsStore":"missing","credHelpers":{%q:"test"}}`, srv.Host)
		helper(t, "test", script)
		require.NoError(t, pingAsDocker(t.Context(), t, srv))
	})
	t.Run("knows nothing", func(t *testing.T) {
		dockerConfig(t, `{"credsStore":"test"}`)
		helper(t, "test", "echo credentials not found in native keychain; exit 1")
		require.ErrorContains(t, pingAsDocker(t.Context(), t, srv), "no credentials")
	})
}

func TestCredentialHelperFails(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	for name, tt := range map[string]struct{ script, want string }{
		"missing":  {"", "docker-credential-test, which CONFIG names, is not on PATH: install it, or remove it from that file and run \"docker login\""},
		"says why": {"echo the keyring is locked; exit 1", "docker-credential-test: the keyring is locked"},
		"silent":   {"exit 3", "docker-credential-test: exit status 3"},
		"no JSON":  {"echo s3cret", "docker-credential-test: the answer is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			path := dockerConfig(t, `{"credsStore":"test"}`)
			if tt.script != "" {
				helper(t, "test", tt.script)
			}
			err := pingAsDocker(t.Context(), t, srv)
			want := fmt.Sprintf("registry %[1]s: ping: credentials for %[1]s: %[2]s", srv.Host, tt.want)
			require.EqualError(t, err, strings.ReplaceAll(want, "CONFIG", path))
		})
	}
}

// TestCredentialHelperHangs also leaves a child that holds the pipe open,
// which is what a script that calls another program does when it is killed.
func TestCredentialHelperHangs(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	dockerConfig(t, `{"credsStore":"test"}`)
	runs, ends := t.TempDir()+"/runs", t.TempDir()+"/ends"
	require.NoError(t, syscall.Mkfifo(runs, 0o600))
	require.NoError(t, syscall.Mkfifo(ends, 0o600))
	helper(t, "test", fmt.Sprintf("cat <%s & echo >%s; wait", ends, runs))

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(runs) // returns when the helper has written
		cancel()
	}()
	err := pingAsDocker(ctx, t, srv)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "registry "+srv.Host+": ping: context canceled")
	require.NoError(t, os.WriteFile(ends, nil, 0)) // lets the child go
}

// TestLogins: podman's files, and what is written into any.
func TestLogins(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	image := func() error {
		r, err := registry.New(srv.Host, nil)
		require.NoError(t, err)
		_, err = r.Exists(t.Context(), "team/app", describe("", []byte("x")))
		return err
	}
	pair := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	right, wrong := pair("alice:s3cret"), pair("alice:guess")
	for name, files := range map[string]map[string]string{ // path to auths by key
		"REGISTRY_AUTH_FILE":        {"my.json": srv.Host + " " + right},
		"before all":                {"my.json": srv.Host + " " + right, ".docker/config.json": srv.Host + " " + wrong},
		"XDG_RUNTIME_DIR":           {"run/containers/auth.json": srv.Host + " " + right},
		"home":                      {".config/containers/auth.json": srv.Host + " " + right},
		"docker's has another host": {".docker/config.json": "ghcr.io " + wrong, ".config/containers/auth.json": srv.Host + " " + right},
		"zero byte":                 {".docker/config.json": srv.Host + " " + pair("alice:s3cret\x00")},
		"repository":                {"my.json": srv.Host + " " + wrong + " " + srv.Host + "/team/app " + right},
		"name above it":             {"my.json": srv.Host + " " + wrong + " " + srv.Host + "/team " + right},
		"not a name beside it":      {"my.json": srv.Host + " " + right + " " + srv.Host + "/tea " + wrong},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			for k, v := range map[string]string{
				"HOME": home, "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": home + "/my.json",
				"XDG_RUNTIME_DIR": home + "/run", "XDG_CONFIG_HOME": "",
			} {
				t.Setenv(k, v)
			}
			for path, said := range files {
				type entry struct {
					Auth string `json:"auth"`
				}
				auths := map[string]entry{}
				words := strings.Fields(said)
				for i := 0; i < len(words); i += 2 {
					auths[words[i]] = entry{words[i+1]}
				}
				b, err := json.Marshal(map[string]any{"auths": auths})
				require.NoError(t, err)
				path = filepath.Join(home, path)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, b, 0o600))
			}
			require.NoError(t, image())
		})
	}
}
