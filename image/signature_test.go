package image_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
)

// What sigstore's cosign calls the parts of a signature (cosign's specs,
// SIGNATURE_SPEC.md).
const (
	cosignArtifact  = "application/vnd.dev.cosign.artifact.sig.v1+json"
	simpleSigning   = "application/vnd.dev.cosign.simplesigning.v1+json"
	cosignSignature = "dev.cosignproject.cosign/signature"
)

// claim is what is signed: a document in the format "simple signing".
type claim struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest digest.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// sign publishes a signature of an image in a registry, as `cosign sign` does with
// --registry-referrers-mode=oci-1-1.
func sign(ctx context.Context, r *registry.Registry, repo string, subject ocispec.Descriptor, key crypto.Signer) error {
	var c claim
	c.Critical.Type = "cosign container image signature"
	c.Critical.Identity.Reference = r.Host() + "/" + repo
	c.Critical.Image.Digest = subject.Digest
	payload, err := json.Marshal(c)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return err
	}
	blob := ocispec.Descriptor{
		MediaType: simpleSigning, Digest: digest.FromBytes(payload), Size: int64(len(payload)),
		Annotations: map[string]string{cosignSignature: base64.StdEncoding.EncodeToString(sig)},
	}
	if err := r.Push(ctx, repo, blob, bytes.NewReader(payload)); err != nil {
		return err
	}
	empty := ocispec.DescriptorEmptyJSON
	if err := r.Push(ctx, repo, empty, bytes.NewReader(empty.Data)); err != nil {
		return err
	}
	m, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: cosignArtifact, Config: empty, Layers: []ocispec.Descriptor{blob}, Subject: &subject,
	})
	if err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	return r.PushManifest(ctx, repo+"@"+d.Digest.String(), d, bytes.NewReader(m))
}

var errUnsigned = errors.New("no signature by a key that is trusted")

// signedBy lets images pass that the owner of a key has signed.
func signedBy(key *ecdsa.PublicKey) func(context.Context, image.Verification) error {
	return func(ctx context.Context, v image.Verification) error {
		for d, err := range v.Referrers(ctx, cosignArtifact) {
			if err != nil {
				return err
			}
			b, err := v.Registry.Read(ctx, v.Repository, d)
			if err != nil {
				return err
			}
			var m ocispec.Manifest
			if json.Unmarshal(b, &m) != nil {
				continue // anybody who may push could have published it
			}
			for _, l := range m.Layers {
				if l.MediaType != simpleSigning || l.Size > 1<<20 {
					continue
				}
				payload, err := v.Registry.Read(ctx, v.Repository, ocispec.Descriptor{Digest: l.Digest, Size: l.Size})
				if err != nil {
					return err
				}
				sig, err := base64.StdEncoding.DecodeString(l.Annotations[cosignSignature])
				sum := sha256.Sum256(payload)
				if err != nil || !ecdsa.VerifyASN1(key, sum[:], sig) {
					continue
				}
				// The signature is good; but is it of this image?
				var c claim
				if json.Unmarshal(payload, &c) == nil && slices.Contains([]digest.Digest{v.Index, v.Digest}, c.Critical.Image.Digest) {
					return nil
				}
			}
		}
		return fmt.Errorf("%s: %w", v.Ref, errUnsigned)
	}
}

// An image is signed with a key made on the spot, and pulled only since it is: the
// signature is cosign's, the check is the standard library's.
func ExampleVerification() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ghcr, err := registry.New("ghcr.io", nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := ghcr.Resolve(ctx, "team/app:v1")
	if err != nil {
		log.Fatal(err)
	}
	if err := sign(ctx, ghcr, "team/app", d, key); err != nil {
		log.Fatal(err)
	}
	img, err := image.Pull(ctx, engine, "ghcr.io/team/app:v1", &image.PullOptions{Verify: signedBy(&key.PublicKey)})
	if errors.Is(err, errUnsigned) {
		log.Fatal("somebody else's image: ", err)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Ref(), "is what its owner has signed")
}
