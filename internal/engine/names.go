package engine

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Words for names of containers whose users give them none.
var (
	adjectives = strings.Fields(`airy amber ample azure bold brave breezy bright brisk calm clear clever cosy crisp
		curious deft eager early fair fond frank free fresh gentle glad golden grand happy hardy honest humble jolly keen
		kind lively loyal lucid lucky mellow merry mild modest neat nimble noble open patient placid plain polite proud
		quick quiet rapid ready roomy round serene sharp shiny silent silver simple sleek smart snug solid sound spry
		stable steady still sturdy sunny swift tidy tranquil true upbeat vivid warm wise witty young zesty`)
	nouns = strings.Fields(`alcove arbour arch atrium attic balcony barn beam bower brick bungalow cabin casa castle
		cellar chalet chapel cottage court den dome door dwelling eave farm fence fort gable garden garret gate grange
		hall harbour haven hearth hive home hostel house hut igloo inn kiln kitchen ladder lantern lodge loft manor mansion
		mill nest oast pagoda palace parlour pavilion pillar porch quarters ranch roof room shed shelter shop stable stair
		station studio tent terrace tower turret veranda villa vista wall wharf window yurt`)
)

var nameRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// checkName validates a container's name, which may have Docker's slash, and
// returns it without.
func checkName(name string) (string, error) {
	n := strings.TrimPrefix(name, "/")
	if !nameRE.MatchString(n) || len(n) > 255 {
		return "", invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two characters at least", name)
	}
	return n, nil
}

func pick(words []string) string {
	n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(words)))) // never fails (Go 1.24)
	return words[n.Int64()]
}

// randomName returns a name for the attempt of that number, from 0. Later ones
// end in a number, so that they find a free name before long.
func randomName(attempt int) string {
	name := pick(adjectives) + "_" + pick(nouns)
	if attempt > 3 {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(1)<<min(uint(attempt), 40)))
		name += "_" + strconv.FormatInt(n.Int64(), 10)
	}
	return name
}

// newID returns 64 random hexadecimal digits. The first twelve are not all
// decimal: as a host name a number would look like an address.
func newID() string {
	for {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails (Go 1.24)
		id := hex.EncodeToString(b[:])
		if strings.Trim(id[:12], "0123456789") != "" {
			return id
		}
	}
}

// shortID is the form in which IDs are shown.
func shortID(id string) string { return id[:min(12, len(id))] }
