package registry

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	for header, want := range map[string]string{
		`Basic realm="x"`:                     "Basic x",
		`basic`:                               "Basic ",
		`Negotiate, Basic realm="x"`:          "Basic x",
		`Negotiate oRQwEg==, Basic realm="x"`: "Basic x",
		`Negotiate oRQwEg, Basic realm=x`:     "Basic x",
		`Digest realm="a, Basic realm=b", nonce="c", Basic realm="x"`: "Basic x",
		`Basic realm="x", Bearer realm="https://t/",service="s"`:      "Bearer https://t/",
		`Bearer realm="https://t/a,b\"c" , service=s,Basic realm="x"`: `Bearer https://t/a,b"c`,
		`BEARER REALM = "https://t/"`:                                 "Bearer https://t/",
		`Bearer service="s", Basic realm="x"`:                         "Basic x",
		`Negotiate`:                                                   "",
		`Bearer realm="unclosed`:                                      "Bearer unclosed",
		``:                                                            "",
		`="x", , =`:                                                   "",
		"Bearer \x00 realm=x":                                         "",
	} {
		c, ok := choose([]string{header})
		got := ""
		if ok {
			got = c.scheme.String() + " " + c.params["realm"]
		}
		require.Equal(t, want, got, header)
	}
	c, ok := choose([]string{"Negotiate", `Basic realm="x"`, `Bearer realm="y"`})
	require.True(t, ok)
	require.Equal(t, "y", c.params["realm"])
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Negotiate oRQwEg==, Digest a="b\"", Bearer realm="https://t/",service=s`)
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range parseChallenges(header) {
			require.NotNil(t, c.params)
		}
	})
}

// TestCheckRealm: a registry may name a token server in its own network, and
// not in one that only this machine is in.
func TestCheckRealm(t *testing.T) {
	for _, tt := range []struct {
		registry, realm string
		ok              bool
	}{
		{"https://10.1.2.4", "https://10.1.2.3/jwt", true},
		{"https://10.1.2.4", "https://192.168.0.1/jwt", true},
		{"https://[fd12::1]", "https://10.1.2.3/jwt", true},
		{"http://10.1.2.4:5000", "http://10.1.2.3/jwt", true},
		{"https://10.1.2.4", "http://10.1.2.3/jwt", false}, // the password in the clear
		{"https://10.1.2.4", "https://127.0.0.1/jwt", false},
		{"https://10.1.2.4", "https://169.254.169.254/jwt", false},
		{"https://[fd12::1]", "https://[fd00:ec2::254]/jwt", false},
		{"https://10.1.2.4", "https://8.8.8.8/jwt", true},
		{"https://8.8.8.8", "https://10.1.2.3/jwt", false},
		{"https://8.8.8.8", "https://[::ffff:10.1.2.3]/jwt", false},
		{"https://8.8.8.8", "https://127.0.0.1/jwt", false},
		{"https://8.8.8.8", "https://100.64.0.1/jwt", false},
		{"https://100.64.0.2", "https://100.64.0.1/jwt", true},
		{"https://100.64.0.2", "https://100.100.100.200/jwt", false},
		{"http://127.0.0.1:5000", "http://127.0.0.2:5001/jwt", true},
		{"http://127.0.0.1:5000", "http://10.1.2.3/jwt", false},
		{"http://127.0.0.1:5000", "http://0.0.0.0/jwt", false},
		{"https://169.254.1.1", "https://169.254.1.1/jwt", true}, // itself
		{"https://169.254.1.1", "https://169.254.169.254/jwt", false},
		{"http://10.1.2.4", "file:///etc/passwd", false},
	} {
		registry, err := url.Parse(tt.registry)
		require.NoError(t, err)
		realm, err := url.Parse(tt.realm)
		require.NoError(t, err)
		err = checkRealm(t.Context(), realm, registry)
		require.Equal(t, tt.ok, err == nil, "%s for %s: %v", tt.realm, tt.registry, err)
	}
}
