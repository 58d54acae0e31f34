package registrytest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"unsafe"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // Options.Root
	"github.com/sirupsen/logrus"
)

// Options says what a registry is like. Nil and the zero value mean: empty,
// in memory, open to everybody.
type Options struct {
	// Username and Password are asked for by HTTP basic authentication, also
	// for reading. If both are empty no password is asked for.
	Username, Password string

	// Root is the directory that keeps what is pushed, made if it isn't
	// there; a later registry with the same Root has it too. Empty means
	// memory.
	Root string

	// TLS makes a Server speak HTTPS, with a certificate that only the
	// transport of [Server.Options] trusts. A Handler is not concerned.
	TLS bool

	// Middleware, if not nil, is put before all else, authentication too. It
	// is where a test makes the registry fail; see [Fail] and its kin.
	Middleware Middleware
}

// Handler returns a registry as a handler, for programs that serve one
// themselves: at the root of a server, since its URLs begin with /v2/. It
// runs as long as the process does. A nil o means the default options.
func Handler(o *Options) (http.Handler, error) {
	h, _, err := newHandler(o)
	return h, err
}

// newHandler also returns what ends the registry's goroutine.
func newHandler(o *Options) (http.Handler, func(), error) {
	if o == nil {
		o = new(Options)
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"delete": {"enabled": true},
			// Or a goroutine would sweep old uploads.
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Catalog: configuration.Catalog{MaxEntries: 1000},
		// Layers may be elsewhere.
		Validation: configuration.Validation{Manifests: configuration.ValidationManifests{
			URLs: configuration.URLs{Allow: []string{"^https?://"}},
		}},
	}
	if o.Root == "" {
		config.Storage[memoryDriver] = configuration.Parameters{}
	} else {
		if err := os.MkdirAll(o.Root, 0o700); err != nil {
			return nil, nil, fmt.Errorf("registrytest: %w", err)
		}
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": o.Root}
	}
	app := handlers.NewApp(quiet{context.Background()}, config)

	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.ServeHTTP(w, r.WithContext(quiet{r.Context()}))
	})
	if o.Username != "" || o.Password != "" {
		h = basicAuth(o.Username, o.Password, h)
	}
	if o.Middleware != nil {
		h = o.Middleware(h)
	}
	return h, func() { shutdown(app) }, nil
}

// basicAuth lets through who knows the password. Hashes are compared, not
// what they are of, so that not even a length is given away by the time it
// takes.
func basicAuth(username, password string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(username + "\x00" + password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(u + "\x00" + p))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
		writeError(w, http.StatusUnauthorized)
	})
}

// writeError answers as the distribution spec says a registry does.
func writeError(w http.ResponseWriter, status int) {
	code := map[int]string{
		http.StatusUnauthorized:    "UNAUTHORIZED",
		http.StatusForbidden:       "DENIED",
		http.StatusNotFound:        "MANIFEST_UNKNOWN",
		http.StatusTooManyRequests: "TOOMANYREQUESTS",
	}[status]
	if code == "" {
		code = "UNKNOWN"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"registrytest says so"}]}`, code)
}

// quiet is a context in which the registry finds a logger that says nothing.
// Otherwise it would log every request to logrus' standard logger, which is
// the process's. The key it looks under can't be imported, hence its name.
type quiet struct{ context.Context }

func (c quiet) Value(key any) any {
	if reflect.TypeOf(key).String() == "dcontext.loggerKey" {
		return silence
	}
	return c.Context.Value(key)
}

var silence = logrus.NewEntry(&logrus.Logger{
	Out:       io.Discard,
	Formatter: new(logrus.TextFormatter),
	Hooks:     make(logrus.LevelHooks),
	Level:     logrus.PanicLevel,
})

// shutdown ends the goroutine of the registry's event broadcaster, which
// App.Shutdown leaves running. It is a private field, and there is no other
// way to it. If it is gone in a later version, a test will say whether the
// goroutine is too.
func shutdown(app *handlers.App) {
	_ = app.Shutdown()
	events := reflect.ValueOf(app).Elem().FieldByName("events")
	if !events.IsValid() {
		return
	}
	sink := events.FieldByName("sink")
	if !sink.IsValid() {
		return
	}
	field := reflect.NewAt(sink.Type(), unsafe.Pointer(sink.UnsafeAddr())).Elem()
	if c, ok := field.Interface().(io.Closer); ok {
		c.Close()
	}
}
