package link

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
)

// LogScheme is that of the URI for a process's output by which an engine has
// the shim write a log itself (package logfile). It is no less than containerd's
// file URIs can do: whoever names a process's streams has the shim write files.
const LogScheme = "ctor-log"

// LogURI names a log, with a limit as for logfile.Create.
func LogURI(path string, limit int64) *url.URL {
	return &url.URL{Scheme: LogScheme, Path: path, RawQuery: "limit=" + strconv.FormatInt(limit, 10)}
}

// ParseLogURI gives what LogURI was given. What that can't have made is
// errdefs.ErrInvalidArgument.
func ParseLogURI(uri string) (path string, limit int64, err error) {
	u, err := url.Parse(uri)
	if err == nil {
		limit, err = strconv.ParseInt(u.Query().Get("limit"), 10, 64)
	}
	if err != nil || *u != *LogURI(u.Path, limit) || !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) != u.Path {
		return "", 0, fmt.Errorf("log %q: %w", uri, errdefs.ErrInvalidArgument)
	}
	return u.Path, limit, nil
}
