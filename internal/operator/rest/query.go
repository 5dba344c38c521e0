package rest

import (
	"net/http"
	"regexp"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

var shortVariable = regexp.MustCompile(`\{([a-z_]+)\}`)

// queries are the messages that each route fills from path and query, by "GET /v1/requests". The gateway passes over
// query parameters that it does not know, and its hook against that is a variable of the whole program; so they are
// checked here, before it.
type queries map[string]protoreflect.MessageDescriptor

// knownQueries reads the routes from the proto's own annotations.
func knownQueries() queries {
	q := queries{}
	services := operatorv1.File_enlace_operator_v1_operator_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			rule, _ := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
			if get := rule.GetGet(); get != "" {
				q[http.MethodGet+" "+spelled(get)] = methods.Get(j).Input()
			}
			if del := rule.GetDelete(); del != "" {
				q[http.MethodDelete+" "+spelled(del)] = methods.Get(j).Input()
			}
		}
	}
	return q
}

// spelled is a path template as the gateway spells it: "{id}" is "{id=*}".
func spelled(template string) string { return shortVariable.ReplaceAllString(template, "{$1=*}") }

// check refuses a query parameter that the route does not have or that the path has given already.
func (q queries) check(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request, inPath map[string]string) {
		pattern, _ := runtime.HTTPPattern(req.Context())
		if !q.allow(req, req.Method+" "+pattern.String(), inPath) {
			refuse(w, fault.New(fault.Invalid, "unknown-field", "read request", "there is no such query parameter here").
				WithHint("the fields of each method: /openapi.json"))
			return
		}
		next(w, req, inPath)
	}
}

func (q queries) allow(req *http.Request, route string, inPath map[string]string) bool {
	for name := range req.URL.Query() {
		input, ok := q[route]
		if !ok {
			return false
		}
		field := input.Fields().ByName(protoreflect.Name(name))
		if _, twice := inPath[name]; field == nil || field.Message() != nil || twice {
			return false
		}
	}
	return true
}
