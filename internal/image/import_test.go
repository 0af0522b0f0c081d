package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestImport(t *testing.T) {
	t.Parallel()
	root := baseLayer(t)
	s := newStore(t)
	var ids []digest.Digest
	for i, how := range []compression{plain, gzipped, zstandard} {
		img, err := s.Import(context.Background(), bytes.NewReader(compressAs(t, how, root)), "root:"+string(rune('a'+i)),
			[]string{"CMD [\"/bin/sh\"]", "ENV A=b"}, "imported by a test", "")
		if err != nil {
			t.Fatal(err)
		}
		if len(img.Layers) != 1 || img.Layers[0].DiffID != digest.FromBytes(root) {
			t.Errorf("layers %+v", img.Layers)
		}
		if !slices.Equal(img.RepoTags, []string{"root:" + string(rune('a'+i))}) {
			t.Errorf("tags %v", img.RepoTags)
		}
		if img.Config.OS != "linux" || img.Config.Architecture == "" || !slices.Equal(img.Config.Config.Cmd, []string{"/bin/sh"}) {
			t.Errorf("config %+v", img.Config)
		}
		h, err := s.History(context.Background(), img.ID.String())
		if err != nil || len(h) != 1 || h[0].Comment != "imported by a test" || h[0].Size != img.Size || h[0].ID != img.ID.String() {
			t.Errorf("history %+v, %v", h, err)
		}
		ids = append(ids, img.ID)
	}
	// skopeo can read what was made.
	var buf bytes.Buffer
	if err := s.Save(context.Background(), &buf, []string{"root:b"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	writeFile(t, file, buf.Bytes())
	skopeo(t, "copy", "oci-archive:"+file, "dir:"+t.TempDir())

	for _, id := range ids {
		if _, err := s.Remove(context.Background(), id.String(), false, nobody); err != nil {
			t.Fatal(err)
		}
	}
	s.empty(t)
	for name, data := range map[string][]byte{"cut": root[:len(root)/2], "garbage": noise(1, 1<<16), "empty": nil} {
		if _, err := s.Import(context.Background(), bytes.NewReader(data), "", nil, "", ""); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.empty(t)
	}
	_, err := s.Import(context.Background(), bytes.NewReader(root), "x@sha256:"+digest.FromString("x").Encoded(), nil, "", "")
	wantErr(t, err, errdefs.ErrInvalidArgument, "digest")
	_, err = s.Import(context.Background(), bytes.NewReader(root), "x", []string{"RUN rm -rf /"}, "", "")
	wantErr(t, err, errdefs.ErrInvalidArgument, "RUN")
}

func TestImportDangling(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img, err := s.Import(context.Background(), bytes.NewReader(baseLayer(t)), "", nil, "", "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	if len(img.RepoTags) != 0 || img.Config.Architecture != "arm64" {
		t.Errorf("%+v", img)
	}
	if _, err := os.Stat(img.Layers[0].Path); err != nil {
		t.Error(err)
	}
}

func TestChanges(t *testing.T) {
	var want dockerspec.DockerOCIImageConfig
	want.Cmd = []string{"/bin/sh", "-c", "echo $HOME 'a b'"}
	want.Entrypoint = []string{"/entry", "--flag"}
	want.Env = []string{"PATH=/bin:/opt/bin", "A=x y", "B=xx y"}
	want.User = "1000:1000"
	want.WorkingDir = "/srv/app"
	want.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}
	want.Volumes = map[string]struct{}{"/data": {}, "/with space": {}}
	want.Labels = map[string]string{"a": "1", "b c": "2"}
	want.StopSignal = "SIGRTMIN+3"
	want.Healthcheck = &dockerspec.HealthcheckConfig{Test: []string{"CMD-SHELL", "true || false"}, Interval: 5 * time.Second, Retries: 3}
	want.OnBuild = []string{"RUN make"}
	var c ImageConfig
	err := applyChanges(&c, []string{
		"CMD echo $HOME 'a b'",
		`entrypoint ["/entry", "--flag"]`,
		"ENV PATH=/bin", "ENV PATH=$PATH:/opt/bin A=\"x y\" ", "ENV B x$A",
		"USER 1000:1000",
		"WORKDIR /srv", "WORKDIR app/",
		"EXPOSE 80 53/udp 8000-8001",
		`VOLUME /data`, `VOLUME ["/with space"]`,
		`LABEL a=1 "b c"=2`,
		"STOPSIGNAL SIGRTMIN+3",
		"HEALTHCHECK --interval=5s --retries=3 CMD true || false",
		"ONBUILD RUN make",
		"  ",
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c.Config); d != "" {
		t.Error(d)
	}
	if err := applyChanges(&c, []string{"HEALTHCHECK NONE", `ENTRYPOINT []`, `CMD ["a"]`, "EXPOSE $NOTHING"}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Healthcheck.Test, []string{"NONE"}) || len(c.Config.Entrypoint) != 0 || !slices.Equal(c.Config.Cmd, []string{"a"}) {
		t.Errorf("%+v", c.Config)
	}
	for _, bad := range []string{"RUN x", "FROM x", "COPY a b", "NOPE", "ENV", "ENV =x", "EXPOSE 0", "EXPOSE 80/icmp", "EXPOSE 2-1",
		"EXPOSE 70000", "STOPSIGNAL SIGNOPE", "STOPSIGNAL 65", "USER", "WORKDIR", "VOLUME", "LABEL x", "HEALTHCHECK CMD", "HEALTHCHECK --interval=x CMD y", "VOLUME [\"\"]"} {
		if err := applyChanges(&c, []string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzChanges(f *testing.F) {
	for _, s := range []string{`CMD ["a"]`, "ENV A=$A B=${C:-d}", "EXPOSE 80-90/udp", "HEALTHCHECK --interval=1s CMD x", "LABEL a='b' \\\n c=d", "STOPSIGNAL RTMAX-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var c ImageConfig
		if err := applyChanges(&c, []string{change}); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	l := newLayout(f)
	l.name("x:1", l.image("", testLayer{makeTar(f, file{name: "x", data: []byte("x")}), gzipped}))
	f.Add(l.archive())
	f.Add(dockerArchive(f, []string{"a:1"}, makeTar(f, file{name: "x", data: []byte("x")})))
	f.Add(makeTar(f, file{name: "oci-layout", data: []byte("{}")}, file{name: ocispec.ImageIndexFile, data: []byte(`{"manifests":[{}]}`)}))
	s := newStore(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := s.Load(context.Background(), bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		for _, img := range list {
			if _, err := s.Remove(context.Background(), img.ID.String(), true, nobody); err != nil {
				t.Fatal(err)
			}
		}
	})
}
