package registry

import (
	"fmt"
	"log/slog"
)

// Credential is what a program shows to a registry that asks who it is. The
// zero value is anonymous. However it is printed or logged, the secrets in it
// are left out.
type Credential struct {
	Username string // beside Password
	Password string `json:"-"`

	// IdentityToken is the refresh token that "docker login" keeps for some
	// registries. It goes to the registry's token server, for an access token.
	IdentityToken string `json:"-"`

	// RegistryToken is an access token: it goes to the registry as it is, as
	// a bearer token. If set, the fields above are not used for those.
	RegistryToken string `json:"-"`
}

// String says who the credential is of, and nothing that is secret.
func (c Credential) String() string {
	switch {
	case c == Credential{}:
		return "anonymous"
	case c.Username == "":
		return "token"
	}
	return "user " + c.Username
}

// Format prints c.String, whatever the verb, so that no verb prints more.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// LogValue logs c.String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// credentialError keeps apart what went wrong on this side, before the
// registry was shown anything.
type credentialError struct {
	host string
	err  error
}

func (e *credentialError) Error() string {
	return "credentials for " + e.host + ": " + e.err.Error()
}

func (e *credentialError) Unwrap() error { return e.err }
