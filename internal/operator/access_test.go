package operator

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

func english() authority.Language {
	l, err := authority.ParseLanguage("en")
	if err != nil {
		panic(err)
	}
	return l
}

func TestAccessTableIsTheProto(t *testing.T) {
	found := map[string]bool{}
	services := operatorv1.File_enlace_operator_v1_operator_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			full := "/" + string(services.Get(i).FullName()) + "/" + string(m.Name())
			found[full] = true
			a, ok := accesses[full]
			if !ok {
				t.Errorf("%s has no line in the table of accesses", full)
			}
			if a.stranger != (m.Name() == "Login") {
				t.Errorf("%s: open to strangers = %v", full, a.stranger)
			}
		}
	}
	for full := range accesses {
		if !found[full] {
			t.Errorf("the table has %s, which the proto lacks", full)
		}
	}
}

func TestLoginToLogout(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	stranger := h.client("")
	in, err := stranger.Session.Login(ctx, &operatorv1.LoginRequest{User: "ana", Password: password})
	h.must(err)
	ana := h.client(in.GetToken())
	who, err := ana.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
	h.must(err)
	if who.GetUser() != "ana" || who.GetAuthority() != "mx/fgr" || strings.Join(who.GetRoles(), ",") != "user" || who.GetNode() != "mx/node/primary" {
		t.Errorf("WhoAmI = %v", who)
	}
	_, err = ana.Session.Logout(ctx, &operatorv1.LogoutRequest{})
	h.must(err)
	_, err = ana.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
	h.refused(err, fault.Unauthenticated, "no-session")
	_, err = stranger.Session.Login(ctx, &operatorv1.LoginRequest{User: "ana", Password: "not this one"})
	if fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("wrong password: %v", err)
	}
}

func TestWhoMayCall(t *testing.T) {
	h := open(t)
	reader := h.token(people.ScopeRequestsRead)
	ended, err := h.desk.Accounts(t.Context())
	if len(ended) != 4 || err != nil {
		t.Fatal(ended, err)
	}
	list := func(secret string) error {
		_, err := h.client(secret).Requests.ListRequests(t.Context(), &operatorv1.ListRequestsRequest{})
		return err
	}
	h.must(list(reader))
	h.refused(list(""), fault.Unauthenticated, "no-token")
	h.refused(list("enlace_s_nonsense"), fault.Unauthenticated, "no-session")
	h.refused(list(h.token(people.ScopeDirectoryRead)), fault.Denied, "scope")

	_, err = h.client(reader).Requests.CreateRequest(t.Context(), &operatorv1.CreateRequestRequest{Draft: &operatorv1.Draft{}})
	h.refused(err, fault.Denied, "scope")
	if hint := fault.As(err).Hint; !strings.Contains(hint, "requests:write") {
		t.Errorf("hint = %q, want the scope that is missing", hint)
	}
	_, err = h.client(h.token(people.ScopeRequestsRead, people.ScopeRequestsWrite)).Requests.ApproveRequest(t.Context(), &operatorv1.ApproveRequestRequest{})
	h.refused(err, fault.Denied, "people-only")

	ana := h.login("ana")
	h.must(list(ana))
	h.ahead.Store(int64(3 * time.Hour)) // beyond the idle time of a session, within a token's life
	h.refused(list(ana), fault.Unauthenticated, "no-session")
	h.must(list(reader))
	h.ahead.Store(int64(48 * time.Hour))
	h.refused(list(reader), fault.Unauthenticated, "no-session")
}

func TestOneAuthorizationOnly(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	for _, values := range [][]string{
		{"Bearer " + ana, "Bearer " + ana}, {"Basic " + ana}, {ana}, {"Bearer"}, {"Bearer  " + ana}, {"Bearer " + ana + " "},
	} {
		md := metadata.MD{"authorization": values}
		if _, err := h.door.authorise(metadata.NewIncomingContext(t.Context(), md), operatorv1.SessionService_WhoAmI_FullMethodName); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%d values of another form: %v, want Unauthenticated", len(values), err)
		}
	}
	md := metadata.MD{"authorization": {"bearer " + ana}}
	_, err := h.door.authorise(metadata.NewIncomingContext(t.Context(), md), operatorv1.SessionService_WhoAmI_FullMethodName)
	h.must(err)
	_, err = h.door.authorise(t.Context(), "/enlace.operator.v1.SessionService/Nothing")
	h.refused(err, fault.Invalid, "unknown-method")
}

// A page of strangers must not take down the REST face's one connection inside the process.
func TestRefusedCallsHarmNobody(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	for range 150 {
		if code, _ := h.call("", http.MethodGet, "/v1/session", ""); code != http.StatusUnauthorized {
			t.Fatalf("status = %d, want 401", code)
		}
		if code, body := h.call(h.shelfless(), http.MethodGet, "/v1/session", ""); code != http.StatusUnauthorized {
			t.Fatalf("status = %d %s, want 401", code, body)
		}
	}
	if code, body := h.call(ana, http.MethodGet, "/v1/session", ""); code != http.StatusOK {
		t.Errorf("after many refusals: %d %s", code, body)
	}
}

func (h *house) shelfless() string { return "enlace_t_" + strings.Repeat("A", 43) }

func TestUsersAndTokens(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	root, ana := h.client(h.login("root")), h.client(h.login("ana"))
	made, err := root.Users.AddUser(ctx, &operatorv1.AddUserRequest{User: "maria", Roles: []string{"user", "duty"}})
	h.must(err)
	if made.GetPassword() == "" {
		t.Error("no password was drawn")
	}
	_, err = root.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: "maria", Roles: []string{"approver"}})
	h.must(err)
	all, err := root.Users.ListUsers(ctx, &operatorv1.ListUsersRequest{})
	h.must(err)
	got := ""
	for _, u := range all.GetUsers() {
		got += u.GetUser() + ":" + strings.Join(u.GetRoles(), "+") + " "
	}
	if want := "ana:user eva:auditor luis:approver maria:approver root:administrator "; got != want {
		t.Errorf("users = %q, want %q", got, want)
	}
	_, err = root.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: "nobody", Roles: []string{"user"}})
	h.refused(err, fault.NotFound, "")
	_, err = ana.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: "nobody", Roles: []string{"user"}})
	h.refused(err, fault.Denied, "policy") // and not that nobody is nobody
	_, err = root.Users.AddUser(ctx, &operatorv1.AddUserRequest{User: "spy", Authority: "jm/dpp", Roles: []string{"user"}})
	h.refused(err, fault.Denied, "policy")
	_, err = root.Users.AddUser(ctx, &operatorv1.AddUserRequest{User: "spy", Roles: []string{"user"}, Password: strings.Repeat("x", 2000)})
	h.refused(err, fault.TooLarge, "too-large")

	issued, err := root.Session.IssueToken(ctx, &operatorv1.IssueTokenRequest{Name: "cad", Scopes: []string{"requests:read"}})
	h.must(err)
	cad := h.client(issued.GetToken())
	_, err = cad.Requests.ListRequests(ctx, &operatorv1.ListRequestsRequest{})
	h.must(err)
	tokens, err := root.Session.ListTokens(ctx, &operatorv1.ListTokensRequest{})
	h.must(err)
	if len(tokens.GetTokens()) != 1 || tokens.GetTokens()[0].GetId() != issued.GetId() || tokens.GetTokens()[0].GetRevoked() {
		t.Errorf("tokens = %v", tokens)
	}
	_, err = ana.Session.RevokeToken(ctx, &operatorv1.RevokeTokenRequest{Id: issued.GetId()})
	h.refused(err, fault.Denied, "policy")
	_, err = root.Session.RevokeToken(ctx, &operatorv1.RevokeTokenRequest{Id: issued.GetId()})
	h.must(err)
	_, err = cad.Requests.ListRequests(ctx, &operatorv1.ListRequestsRequest{})
	h.refused(err, fault.Unauthenticated, "no-session")
}

func TestPolicyRefusalSaysWhy(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	ana := h.client(h.login("ana"))
	_, err := ana.Users.ListUsers(ctx, &operatorv1.ListUsersRequest{})
	h.refused(err, fault.Denied, "policy")
	if f := fault.As(err); f.Say != "no rule permits it to this person or system" || !strings.Contains(f.Hint, "administrators manage the accounts") {
		t.Errorf("refusal = %q, hint %q", f.Say, f.Hint)
	}
	made, err := ana.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: &operatorv1.Draft{To: "jm/dpp"}})
	h.must(err)
	_, err = h.client(h.login("luis")).Requests.ApproveRequest(ctx, &operatorv1.ApproveRequestRequest{Id: made.GetId()})
	h.must(err)
	code, body := h.call(h.login("eva"), http.MethodPost, "/v1/requests", `{"draft":{"to":"jm/dpp"}}`)
	if want := `{"kind":"denied","code":"policy","message":"auditors change nothing, whatever other role they hold"`; code != http.StatusForbidden || !strings.HasPrefix(body, want) {
		t.Errorf("REST refusal = %d %s, want %s", code, body, want)
	}
}

func TestExplainPolicy(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	root, ana := h.client(h.login("root")), h.client(h.login("ana"))
	for _, test := range []struct {
		client       *Client
		user, action string
		allowed      bool
		reason       string
	}{
		{ana, "", "request:create", true, "write"},
		{ana, "ana", "user:manage", false, "no-rule"},
		{root, "luis", "request:approve", true, "approver-decide"},
		{root, "eva", "request:create", false, "auditor-never-writes"},
	} {
		got, err := test.client.Node.ExplainPolicy(ctx, &operatorv1.ExplainPolicyRequest{User: test.user, Action: test.action})
		h.must(err)
		if got.GetAllowed() != test.allowed || !strings.Contains(strings.Join(got.GetReasons(), "\n"), test.reason) || len(got.GetDigest()) != 64 {
			t.Errorf("%s by %q = %v %q, want %v, %q", test.action, test.user, got.GetAllowed(), got.GetReasons(), test.allowed, test.reason)
		}
	}
	_, err := ana.Node.ExplainPolicy(ctx, &operatorv1.ExplainPolicyRequest{User: "luis", Action: "request:create"})
	h.refused(err, fault.Denied, "policy")
	_, err = ana.Node.ExplainPolicy(ctx, &operatorv1.ExplainPolicyRequest{Action: "request:steal"})
	h.refused(err, fault.Invalid, "unknown-action")
}

func TestDirectoryQueries(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	c := h.client(ana)
	got, err := c.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "mx", Kind: "identify-person", Category: "drugs.trafficking"})
	h.must(err)
	if len(got.GetAuthorities()) != 1 || got.GetAuthorities()[0].GetName() != "mx/fgr" || got.GetAuthorities()[0].GetStatus() != "active" {
		t.Errorf("who = %v", got)
	}
	got, err = c.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{Category: "humans.trafficking"})
	h.must(err)
	if len(got.GetAuthorities()) != 0 {
		t.Errorf("nobody is competent, yet %v", got)
	}
	for path, want := range map[string]string{
		"/v1/directory":                     `"position":"4"`,
		"/v1/directory?state=mx":            `"name":"mx/node/primary"`,
		"/v1/directory?state=br":            `"code":"unknown-entry"`,
		"/v1/directory/mx":                  `"state":{"name":"mx","status":"active","title":"Mexico","note_verbale":"NV 1/2026","position":"2"`,
		"/v1/directory/mx/fgr":              `"acronym":""`,
		"/v1/directory/mx%2Ffgr":            `"time_zone":"America/Mexico_City"`,
		"/v1/directory/mx/node/primary":     `"endpoints":["127.0.0.1:7401"]`,
		"/v1/directory/mx/nobody":           `"kind":"not-found"`,
		"/v1/directory/MX":                  `"code":"malformed-name"`,
		"/v1/who?category=drugs.precursors": `"name":"mx/fgr"`,
		"/v1/node":                          `"freshness":"fresh"`,
	} {
		if _, body := h.call(ana, http.MethodGet, path, ""); !strings.Contains(squeeze(body), want) {
			t.Errorf("GET %s = %s, want %s in it", path, body, want)
		}
	}
}

// squeeze takes out the blanks that protojson puts in at random.
func squeeze(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, ": ", ":"), ", ", ",") }

func TestClientTrust(t *testing.T) {
	h := open(t)
	_, other := identity(t, "127.0.0.1")
	_, err := Dial(h.rpc, Trust{}, "")
	h.refused(err, fault.Usage, "no-trust")
	try := func(addr string, trust Trust) error {
		c, err := Dial(addr, trust, "")
		h.must(err)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = c.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
		return err
	}
	good, bad := h.trust(), h.trust()
	bad.Pin[0] ^= 1
	h.refused(try(h.rpc, good), fault.Unauthenticated, "no-token") // the node answered
	h.refused(try(h.rpc, bad), fault.Unauthenticated, "wrong-certificate")
	pool := newPool(h.ca)
	h.refused(try(h.rpc, Trust{Roots: pool}), fault.Unauthenticated, "no-token")
	h.refused(try(h.rpc, Trust{Roots: newPool(other)}), fault.Unauthenticated, "wrong-certificate")
	byName := strings.Replace(h.rpc, "127.0.0.1", "127.0.0.2", 1)
	h.refused(try(byName, good), fault.Retry, "unreachable") // the listener is on 127.0.0.1 only

	foreign := open(t, func(c *Config) {
		config, ca := identity(t, "node.example")
		c.TLS, c.Chain = config, [][]byte{ca.Raw}
		h.ca = ca
	})
	err = try(foreign.rpc, h.trust())
	h.refused(err, fault.Unauthenticated, "wrong-certificate")
	if hint := fault.As(err).Hint; !strings.Contains(hint, "host name") {
		t.Errorf("hint = %q, want one about the host name", hint)
	}
}
