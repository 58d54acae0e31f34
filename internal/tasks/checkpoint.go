package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/ctorhq/ctor/internal/shim"
)

// checkpointLabel marks content that Checkpoint has written here.
//
// A checkpoint holds its processes' whole state, down to their capabilities
// and filters: its author can be root on the host that restores it. So a
// checkpoint that came with an image, from a registry or an archive, is not
// restored. The label tells them apart: it is the store's own, and nothing that is
// pulled or imported brings labels along.
const checkpointLabel = "io.ctor.checkpoint"

// images is where a checkpoint's files are, while its task is.
func (s *Service) images(key string) string { return filepath.Join(s.cfg.Dir, "checkpoint", key) }

// dropImages removes those that no task has: of a program that was killed.
func (s *Service) dropImages() error {
	keys, _ := fs.Glob(os.DirFS(s.images("")), "*/*")
	var errs []error
	for _, k := range keys {
		if s.tasks[k] == nil {
			errs = append(errs, os.RemoveAll(s.images(k)))
		}
	}
	return errors.Join(errs...)
}

// Checkpoint writes a task's processes to the content store.
func (s *Service) Checkpoint(ctx context.Context, r *api.CheckpointTaskRequest, _ ...grpc.CallOption) (*api.CheckpointTaskResponse, error) {
	resp, err := s.checkpoint(ctx, r)
	return resp, errgrpc.ToGRPC(err)
}

func (s *Service) checkpoint(ctx context.Context, r *api.CheckpointTaskRequest) (*api.CheckpointTaskResponse, error) {
	if _, err := digest.Parse(r.ParentCheckpoint); err == nil {
		return nil, fmt.Errorf("checkpoint task %s: on top of another: %w", r.ContainerID, errdefs.ErrNotImplemented)
	}
	container, err := s.cfg.Containers.Get(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	making := s.images(".making") // no namespace begins so
	if err := os.MkdirAll(making, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(making, "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	request := &taskapi.CheckpointTaskRequest{ID: r.ContainerID, Path: dir, Options: r.Options}
	if _, err := call(ctx, s, r.ContainerID, (*shim.Shim).Checkpoint, request); err != nil {
		return nil, errgrpc.ToNative(err)
	}
	processes, err := s.write(ctx, images.MediaTypeContainerd1Checkpoint, dir, archive.Diff(ctx, "", dir))
	if err != nil {
		return nil, err
	}
	spec, err := proto.Marshal(typeurl.MarshalProto(container.Spec))
	if err != nil {
		return nil, err
	}
	config, err := s.write(ctx, images.MediaTypeContainerd1CheckpointConfig, dir+"/spec", io.NopCloser(bytes.NewReader(spec)))
	if err != nil {
		return nil, err
	}
	return &api.CheckpointTaskResponse{Descriptors: []*types.Descriptor{processes, config}}, nil
}

// write writes content as ours, and closes from.
func (s *Service) write(ctx context.Context, mediaType, ref string, from io.ReadCloser) (*types.Descriptor, error) {
	defer from.Close()
	w, err := s.cfg.Content.Writer(ctx, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: mediaType}))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	size, err := io.Copy(w, from)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{checkpointLabel: "ours"}
	err = w.Commit(ctx, size, "", content.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		// Ours as well now: it is the same, byte by byte.
		_, err = s.cfg.Content.Update(ctx, content.Info{Digest: w.Digest(), Labels: labels}, "labels."+checkpointLabel)
	}
	if err != nil {
		return nil, err
	}
	return &types.Descriptor{MediaType: mediaType, Digest: w.Digest().String(), Size: size}, nil
}

// unpackCheckpoint gives the directory of a checkpoint's files; "" is none.
func (s *Service) unpackCheckpoint(ctx context.Context, key string, d *types.Descriptor) (_ string, err error) {
	if d == nil {
		return "", nil
	}
	if d.MediaType != images.MediaTypeContainerd1Checkpoint {
		return "", fmt.Errorf("restore: %q is no checkpoint: %w", d.MediaType, errdefs.ErrInvalidArgument)
	}
	dgst, err := digest.Parse(d.Digest)
	if err != nil {
		return "", fmt.Errorf("restore: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	info, err := s.cfg.Content.Info(ctx, dgst)
	if err != nil {
		return "", err
	}
	if info.Labels[checkpointLabel] == "" {
		return "", fmt.Errorf("restore: checkpoint %s was not made by this engine, and its writer would be root: %w", dgst, errdefs.ErrPermissionDenied)
	}
	r, err := s.cfg.Content.ReaderAt(ctx, ocispec.Descriptor{Digest: dgst, Size: info.Size})
	if err != nil {
		return "", err
	}
	defer r.Close()
	dir := s.images(key)
	if err := os.RemoveAll(dir); err != nil { // of a program that was killed
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	_, err = archive.Apply(ctx, dir, content.NewReader(r))
	return dir, err
}
