package docker

import (
	"strings"
	"testing"
)

// refusedEndpoints are those that a part of Docker has which Abode is without.
func refusedEndpoints() []feature {
	const (
		build   = "abode cannot build images yet; a later version will. Build with buildkit or buildah, then `load` the result, or pull it from a registry"
		swarm   = "swarm mode is not supported: abode runs containers on one machine"
		plugins = "plugins are not supported"
	)
	var all []feature
	refuse := func(words string, endpoints ...string) {
		for _, name := range endpoints {
			method, path, _ := strings.Cut(name, " ")
			path = strings.NewReplacer("{id}", "some", "{name}", "some").Replace(path)
			all = append(all, feature{name: name, once: true, refused: both(words), prove: func(t *testing.T, _ wall) {
				says(t, 501, words, method, path, nil)
			}})
		}
	}
	empty := func(name, note, body string) {
		method, path, _ := strings.Cut(name, " ")
		all = append(all, feature{name: name, once: true, note: note, prove: func(t *testing.T, _ wall) {
			equal(t, "the answer", does(t, 200, nil, method, path, nil).body, body+"\n")
		}})
	}
	refuse(build, "POST /build", "POST /session")
	empty("POST /build/prune", "there is no cache of builds to prune", `{"CachesDeleted":[],"SpaceReclaimed":0}`)
	refuse("searching registries is not supported: abode favours no registry over another. Search on the registry's own site", "GET /images/search")
	refuse("abode cannot tell an image's attestations yet; a later version will. The registry has them", "GET /images/{name}/attestations")
	refuse("abode cannot update cluster volumes yet; a later version will", "PUT /volumes/{name}")
	empty("GET /plugins", "there are none", "[]")
	refuse(plugins, "GET /plugins/privileges", "POST /plugins/pull", "GET /plugins/{name}/json", "DELETE /plugins/{name}", "POST /plugins/{name}/enable",
		"POST /plugins/{name}/disable", "POST /plugins/{name}/upgrade", "POST /plugins/create", "POST /plugins/{name}/push", "POST /plugins/{name}/set")
	refuse(swarm, "GET /nodes", "GET /nodes/{id}", "DELETE /nodes/{id}", "POST /nodes/{id}/update",
		"GET /swarm", "POST /swarm/init", "POST /swarm/join", "POST /swarm/leave", "POST /swarm/update", "GET /swarm/unlockkey", "POST /swarm/unlock",
		"GET /tasks", "GET /tasks/{id}", "GET /tasks/{id}/logs", "GET /services/{id}/logs")
	for _, noun := range []string{"services", "secrets", "configs"} {
		refuse(swarm, "GET /"+noun, "POST /"+noun+"/create", "GET /"+noun+"/{id}", "DELETE /"+noun+"/{id}", "POST /"+noun+"/{id}/update")
	}
	return all
}
