package operator

import (
	_ "embed"
	"encoding/json"

	"github.com/enlace-network/enlace/internal/fault"
)

// generatedAPI comes from the proto file; make generate writes it.
//
//go:embed openapi.swagger.json
var generatedAPI []byte

// handAPI describes what the generator cannot know: the handlers beside the gateway, the token, the errors.
//
//go:embed openapi.hand.json
var handAPI []byte

// openAPI is the description of the REST face, OpenAPI 2.0: the generated one with the other laid over it.
func openAPI() ([]byte, error) {
	var generated, hand map[string]any
	for data, into := range map[*[]byte]*map[string]any{&generatedAPI: &generated, &handAPI: &hand} {
		if err := json.Unmarshal(*data, into); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "", "read API description", "the built-in description cannot be read")
		}
	}
	overlay(generated, hand)
	return json.Marshal(generated)
}

// overlay puts every value of over into base, objects member by member.
func overlay(base, over map[string]any) {
	for key, value := range over {
		child, isObject := value.(map[string]any)
		into, hasObject := base[key].(map[string]any)
		if isObject && hasObject && key != "rpcStatus" {
			overlay(into, child)
			continue
		}
		base[key] = value
	}
}
