package docker

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"
)

func registryEndpoints() []feature {
	list := []feature{
		{name: "POST /images/{name}/push", prove: func(t *testing.T, _ wall) {
			ref := private + "/pushed:v1"
			cli(t, "tag", "busybox", ref)
			forget(t, ref)
			push := func(secret string) answer {
				auth, _ := json.Marshal(map[string]string{"username": user, "password": secret, "serveraddress": private})
				req, err := http.NewRequestWithContext(soon(t), "POST", "http://engine/images/"+private+"/pushed/push"+query("tag", "v1"), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(auth))
				resp, err := plain.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer{resp.StatusCode, resp.Header, string(b)}
			}
			if a := push(password); a.status != 200 || !strings.Contains(a.body, `"aux":{"Tag":"v1","Digest":"sha256:`) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a := push("wrong"); !strings.Contains(a.body, "401") && !strings.Contains(a.body, "denied") && !strings.Contains(a.body, "authorized") {
				t.Errorf("with a wrong password: %d %s", a.status, a.body)
			}
			if a := ask(t, "POST", "/images/nosuch/push", nil); !strings.Contains(a.body, "An image does not exist locally with the tag: nosuch") {
				t.Errorf("of what is not here: %d %s", a.status, a.body)
			}
		}},
		{name: "POST /auth", prove: func(t *testing.T, _ wall) {
			var r struct{ Status string }
			does(t, 200, &r, "POST", "/auth", map[string]string{"username": user, "password": password, "serveraddress": private})
			equal(t, "its status", r.Status, "Login Succeeded")
			equal(t, "status of a wrong password", ask(t, "POST", "/auth", map[string]string{"username": user, "password": "wrong", "serveraddress": private}).status, 401)
		}},
		{name: "GET /distribution/{name}/json", prove: func(t *testing.T, _ wall) {
			ref := pushed(t, "distributed")
			var d registry.DistributionInspect
			does(t, 200, &d, "GET", "/distribution/"+ref+"/json", nil)
			if d.Descriptor.Size == 0 || d.Descriptor.Digest.Validate() != nil || !strings.Contains(d.Descriptor.MediaType, "manifest") || len(d.Platforms) != 1 || d.Platforms[0].OS != "linux" {
				t.Errorf("%+v", d)
			}
			says(t, 404, "cannot inspect "+hub+"/nosuch in its registry: the registry "+hub+" knows no such image; check the name or run `abode login "+hub+"`", "GET", "/distribution/"+hub+"/nosuch/json", nil)
		}},
	}
	for i := range list {
		list[i].once = true
	}
	return list
}
