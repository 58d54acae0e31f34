package stock

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"

	"github.com/containerd/containerd/api/types"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// What the annotations of a types.RuntimeInfo say of the executor, and of the
// shim itself.
const (
	nameKey     = "io.ctor.executor"
	versionKey  = "io.ctor.executor.version"
	seccompKey  = "io.ctor.executor.seccomp"
	nativeKey   = "io.ctor.native"
	protocolKey = "io.ctor.protocol"
)

// featuresType is what containerd registers the OCI features as.
const featuresType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

// tell answers -info.
func tell(out io.Writer, describe func() (task.About, error)) error {
	about, err := describe()
	if err != nil {
		return err
	}
	info, err := Info(about)
	if err != nil {
		return err
	}
	b, err := proto.Marshal(info)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// Info is what a shim with an executor tells of itself.
func Info(about task.About) (*types.RuntimeInfo, error) {
	info := &types.RuntimeInfo{
		Name:    link.Runtime,
		Version: &types.RuntimeVersion{},
		Annotations: map[string]string{
			nameKey: about.Name, versionKey: about.Version, seccompKey: strconv.FormatBool(about.Seccomp),
			nativeKey:   strconv.FormatBool(about.Native),
			protocolKey: link.Protocol,
		},
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		info.Version.Version = b.Main.Version
	}
	if about.Features != nil {
		j, err := json.Marshal(about.Features)
		if err != nil {
			return nil, err
		}
		info.Features = &anypb.Any{TypeUrl: featuresType, Value: j}
	}
	return info, nil
}

// ParseInfo reads what a shim of whatever version answers to -info: what runs its
// containers, and the protocol that it speaks with engines.
func ParseInfo(answer []byte) (about task.About, protocol string, err error) {
	var info types.RuntimeInfo
	if err := proto.Unmarshal(answer, &info); err != nil {
		return about, "", err
	}
	says := info.Annotations
	if info.Name != link.Runtime || says[nameKey] == "" {
		return about, "", fmt.Errorf("it calls itself %q, not %q", info.Name, link.Runtime)
	}
	about.Name, about.Version = says[nameKey], says[versionKey]
	if info.Features != nil {
		about.Features = new(features.Features)
		if err := json.Unmarshal(info.Features.Value, about.Features); err != nil {
			return about, "", err
		}
	}
	about.Native = says[nativeKey] == "true"
	about.Seccomp, err = strconv.ParseBool(says[seccompKey])
	return about, says[protocolKey], err
}
