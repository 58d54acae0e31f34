package image

import (
	"net/http"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/repository"
)

// Handler serves the engine's images as a registry does, to be pulled and pushed
// (OCI distribution-spec 1.1: blobs, manifests of any type, tags, referrers,
// deletion). It is for the root of a server, since its URLs begin with /v2/:
//
//	http.ListenAndServe("127.0.0.1:5000", image.Handler(e))
//
// A repository has the name that its images have, as it is completed everywhere:
// who pulls 127.0.0.1:5000/app:v1 gets what [Get] gives for "app:v1", and what is
// pushed as 127.0.0.1:5000/ghcr.io/acme/app:v2 is the image ghcr.io/acme/app:v2.
// So an engine can also be the mirror of another registry. Where there is no such
// image, one is found that is called 127.0.0.1:5000/app:v1 in the engine itself.
// Others whose host has a port have no name in a repository, and need a [Image.Tag].
//
// What is pushed by its digest alone has a name with that digest, until an index
// lists it; and what is about an image, such as a signature, lives as long as the
// image. A tag that moves leaves what it meant under its digest: nothing that was
// pushed goes but by a DELETE, or by [Image.Remove]. A blob of a manifest that
// doesn't come within an hour goes, as does an upload that is left alone
// for ten minutes. An image that the engine has for some of its platforms only is
// served so.
//
// The handler asks for no password. A client that reaches it can read every image of
// the engine and give any name another image: put a handler before it that decides.
// One that tells repositories apart has to set the request's Host, and to look at
// a POST's query: "from" names the repository that a blob is mounted from, and
// without it every one is meant.
//
// Requests are calls of the engine: [ctor.Engine.Close] ends them.
func Handler(e *ctor.Engine) http.Handler { return repository.Handler(engine.Of(e)) }
