package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	helper "github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/moby/moby/api/types/registry"
)

// Hub is the name under which Docker keeps the credentials of its own
// registry.
const Hub = "https://index.docker.io/v1/"

// tokenUser marks a secret of a helper as an identity token.
const tokenUser = "<token>"

// helperProgram runs docker-credential-NAME; tests replace it.
var helperProgram = func(name string) helper.ProgramFunc {
	return helper.NewShellProgramFunc("docker-credential-" + name)
}

// Key is the name under which the credentials for a registry host are kept.
func Key(host string) string {
	host = hostname(host)
	switch host {
	case "", "docker.io", "index.docker.io", "registry-1.docker.io":
		return Hub
	}
	return host
}

// hostname strips the scheme and the path from an address.
func hostname(address string) string {
	for _, scheme := range []string{"https://", "http://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	host, _, _ := strings.Cut(address, "/")
	return host
}

// Get returns the credentials for a registry host, empty ones when there are
// none.
func (f *File) Get(host string) (registry.AuthConfig, error) {
	key := Key(host)
	if name := f.helper(key); name != "" {
		return get(name, key)
	}
	if entry, ok := f.auths[key]; ok {
		return decode(key, entry)
	}
	for k, entry := range f.auths { // entries with a scheme or a path: of older clients
		if hostname(k) == hostname(key) {
			return decode(key, entry)
		}
	}
	return registry.AuthConfig{ServerAddress: key}, nil
}

func (f *File) helper(key string) string {
	if name, ok := f.credHelpers[hostname(key)]; ok {
		return name
	}
	if name, ok := f.credHelpers[key]; ok {
		return name
	}
	return f.credsStore
}

func get(name, key string) (registry.AuthConfig, error) {
	auth := registry.AuthConfig{ServerAddress: key}
	c, err := helper.Get(helperProgram(name), key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return auth, nil
	case err != nil:
		return auth, fmt.Errorf("cannot get the credentials for %s from docker-credential-%s: %w", key, name, err)
	case c.Username == tokenUser:
		auth.IdentityToken = c.Secret
	default:
		auth.Username, auth.Password = c.Username, c.Secret
	}
	return auth, nil
}

func decode(key string, entry map[string]json.RawMessage) (registry.AuthConfig, error) {
	auth := registry.AuthConfig{ServerAddress: key}
	var encoded string
	for name, into := range map[string]*string{
		"auth": &encoded, "username": &auth.Username, "password": &auth.Password,
		"identitytoken": &auth.IdentityToken, "registrytoken": &auth.RegistryToken,
	} {
		if v, ok := entry[name]; ok {
			if err := json.Unmarshal(v, into); err != nil {
				return auth, fmt.Errorf("cannot read the credentials for %s: %s: %w", key, name, err)
			}
		}
	}
	if encoded == "" {
		return auth, nil
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok || user == "" {
		return auth, fmt.Errorf("cannot read the credentials for %s: auth is not the base64 of USER:PASSWORD; log in again with `abode login %s`", key, hostname(key))
	}
	auth.Username, auth.Password = user, strings.Trim(password, "\x00")
	return auth, nil
}

// Set keeps the credentials: in the helper that the file names for their
// registry, else in the file. It tells whether they now stand in the file,
// unencrypted.
func (f *File) Set(auth registry.AuthConfig) (inFile bool, err error) {
	key := Key(auth.ServerAddress)
	if name := f.helper(key); name != "" {
		c := &credentials.Credentials{ServerURL: key, Username: auth.Username, Secret: auth.Password}
		if auth.IdentityToken != "" {
			c.Username, c.Secret = tokenUser, auth.IdentityToken
		}
		if err := helper.Store(helperProgram(name), c); err != nil {
			return false, fmt.Errorf("cannot keep the credentials in docker-credential-%s: %w", name, err)
		}
		f.auths[key] = map[string]json.RawMessage{} // as Docker does: an entry says that there are some
		return false, f.save()
	}
	entry := f.auths[key]
	if entry == nil {
		entry = map[string]json.RawMessage{}
		f.auths[key] = entry
	}
	for _, field := range []string{"username", "password", "auth", "identitytoken"} {
		delete(entry, field)
	}
	set := func(name, value string) {
		b, _ := json.Marshal(value) // a string: cannot fail
		entry[name] = b
	}
	set("auth", base64.StdEncoding.EncodeToString([]byte(auth.Username+":"+auth.Password)))
	if auth.IdentityToken != "" {
		set("auth", base64.StdEncoding.EncodeToString([]byte(auth.Username+":")))
		set("identitytoken", auth.IdentityToken)
	}
	return true, f.save()
}

// Erase forgets the credentials for a registry host; it tells whether there
// were any.
func (f *File) Erase(host string) (bool, error) {
	key := Key(host)
	_, found := f.auths[key]
	if name := f.helper(key); name != "" {
		if err := helper.Erase(helperProgram(name), key); err != nil && !credentials.IsErrCredentialsNotFound(err) {
			return found, fmt.Errorf("cannot erase the credentials in docker-credential-%s: %w", name, err)
		}
		found = true
	}
	for k := range f.auths {
		if hostname(k) == hostname(key) {
			delete(f.auths, k)
			found = true
		}
	}
	if !found {
		return false, nil
	}
	return true, f.save()
}

// CheckAddress refuses what is no registry address.
func CheckAddress(address string) error {
	u, err := url.Parse("//" + hostname(address))
	if err != nil || u.Host == "" || strings.ContainsAny(address, " \t@") {
		return fmt.Errorf("invalid registry address %q; expected HOST[:PORT]", address)
	}
	return nil
}
