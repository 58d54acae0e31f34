package repository

import (
	"net/http"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
)

// Bounded is Handler with other bounds on blobs that wait.
func Bounded(e *engine.Engine, wait time.Duration, most int) http.Handler {
	return newStore(e, wait, most).handler()
}
