package operator

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// access is what a method asks of its caller before any rule is looked at.
type access struct {
	// stranger: nobody needs to have logged in.
	stranger bool
	// token: systems may call.
	token bool
	// scope is what a token needs; the zero scope is none.
	scope people.Scope
}

// accesses is the whole table. A method that is not in it is refused, and a test holds it against the proto.
var accesses = map[string]access{
	operatorv1.SessionService_Login_FullMethodName:       {stranger: true},
	operatorv1.SessionService_Logout_FullMethodName:      {token: true},
	operatorv1.SessionService_WhoAmI_FullMethodName:      {token: true},
	operatorv1.SessionService_IssueToken_FullMethodName:  {},
	operatorv1.SessionService_ListTokens_FullMethodName:  {},
	operatorv1.SessionService_RevokeToken_FullMethodName: {},

	operatorv1.UserService_AddUser_FullMethodName:       {token: true, scope: people.ScopeUsersWrite},
	operatorv1.UserService_ListUsers_FullMethodName:     {token: true, scope: people.ScopeUsersWrite},
	operatorv1.UserService_SetRoles_FullMethodName:      {token: true, scope: people.ScopeUsersWrite},
	operatorv1.UserService_LockUser_FullMethodName:      {token: true, scope: people.ScopeUsersWrite},
	operatorv1.UserService_ResetPassword_FullMethodName: {token: true, scope: people.ScopeUsersWrite},

	operatorv1.RequestService_ListRequests_FullMethodName:       {token: true, scope: people.ScopeRequestsRead},
	operatorv1.RequestService_GetRequest_FullMethodName:         {token: true, scope: people.ScopeRequestsRead},
	operatorv1.RequestService_WatchRequests_FullMethodName:      {token: true, scope: people.ScopeRequestsRead},
	operatorv1.RequestService_CheckRequest_FullMethodName:       {token: true, scope: people.ScopeRequestsRead},
	operatorv1.RequestService_CreateRequest_FullMethodName:      {token: true, scope: people.ScopeRequestsWrite},
	operatorv1.RequestService_SendRequest_FullMethodName:        {token: true, scope: people.ScopeRequestsWrite},
	operatorv1.RequestService_AnswerRequest_FullMethodName:      {token: true, scope: people.ScopeRequestsWrite},
	operatorv1.RequestService_CloseRequest_FullMethodName:       {token: true, scope: people.ScopeRequestsWrite},
	operatorv1.RequestService_ApproveRequest_FullMethodName:     {},
	operatorv1.RequestService_ReturnRequest_FullMethodName:      {},
	operatorv1.RequestService_AcknowledgeRequest_FullMethodName: {},
	operatorv1.RequestService_RefuseRequest_FullMethodName:      {},

	operatorv1.AttachmentService_AddAttachment_FullMethodName: {token: true, scope: people.ScopeAttachmentsWrite},
	operatorv1.AttachmentService_GetAttachment_FullMethodName: {token: true, scope: people.ScopeAttachmentsRead},

	operatorv1.AlertService_ListAlerts_FullMethodName:   {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_GetAlert_FullMethodName:     {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_WatchAlerts_FullMethodName:  {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_CheckAlert_FullMethodName:   {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_ListHolders_FullMethodName:  {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_GetAlertFile_FullMethodName: {token: true, scope: people.ScopeAlertsRead},
	operatorv1.AlertService_CreateAlert_FullMethodName:  {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_PublishAlert_FullMethodName: {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_UpdateAlert_FullMethodName:  {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_CancelAlert_FullMethodName:  {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_GiveFeedback_FullMethodName: {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_AddAlertFile_FullMethodName: {token: true, scope: people.ScopeAlertsWrite},
	operatorv1.AlertService_ApproveAlert_FullMethodName: {},
	operatorv1.AlertService_ReturnAlert_FullMethodName:  {},

	operatorv1.SubscriptionService_ListSubscriptions_FullMethodName:   {token: true, scope: people.ScopeSubscriptionsRead},
	operatorv1.SubscriptionService_AddSubscription_FullMethodName:     {token: true, scope: people.ScopeSubscriptionsWrite},
	operatorv1.SubscriptionService_RemoveSubscription_FullMethodName:  {token: true, scope: people.ScopeSubscriptionsWrite},
	operatorv1.SubscriptionService_ApproveSubscription_FullMethodName: {},

	operatorv1.DirectoryQueryService_ListEntries_FullMethodName:        {token: true, scope: people.ScopeDirectoryRead},
	operatorv1.DirectoryQueryService_GetEntry_FullMethodName:           {token: true, scope: people.ScopeDirectoryRead},
	operatorv1.DirectoryQueryService_FindAuthority_FullMethodName:      {token: true, scope: people.ScopeDirectoryRead},
	operatorv1.DirectoryQueryService_ListCodes_FullMethodName:          {token: true},
	operatorv1.DirectoryQueryService_GetDirectoryStatus_FullMethodName: {token: true, scope: people.ScopeDirectoryRead},

	operatorv1.NodeService_GetStatus_FullMethodName:     {token: true, scope: people.ScopeNodeRead},
	operatorv1.NodeService_ExplainPolicy_FullMethodName: {},
	operatorv1.NodeService_Backup_FullMethodName:        {},
	operatorv1.NodeService_Diagnose_FullMethodName:      {},
}

// caller is who makes a call, with the secret they showed: Logout ends exactly that session.
type caller struct {
	people.Principal
	secret string
}

type callerKey struct{}

// callerFrom is the caller of a call that authorise let in; nobody in a call to Login.
func callerFrom(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authorise is wire.Authorise: who calls, and may they call this at all.
func (d *Door) authorise(ctx context.Context, method string) (context.Context, error) {
	a, ok := accesses[method]
	if !ok || !d.serves(method) {
		return nil, fault.New(fault.Invalid, "unknown-method", "authorise call", "there is no such method")
	}
	if a.stranger {
		return ctx, nil
	}
	secret, err := bearer(ctx)
	if err != nil {
		return nil, err
	}
	who, err := d.people.Authenticate(ctx, secret)
	if err != nil {
		return nil, err
	}
	if err := a.check(who); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, callerKey{}, caller{who, secret}), nil
}

// serves is false for the alerts of a node that takes no part in them.
func (d *Door) serves(method string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch service {
	case operatorv1.AlertService_ServiceDesc.ServiceName:
		return d.c.Alerts != nil
	case operatorv1.SubscriptionService_ServiceDesc.ServiceName:
		return d.c.Subscriptions != nil
	}
	return true
}

func (a access) check(who people.Principal) error {
	if !who.IsToken() {
		return nil
	}
	if !a.token {
		return fault.New(fault.Denied, "people-only", "authorise call", "a token cannot do this: a person must")
	}
	if a.scope == 0 {
		return nil
	}
	for _, s := range who.Scopes {
		if s == a.scope {
			return nil
		}
	}
	return fault.New(fault.Denied, "scope", "authorise call", "the token lacks the scope "+a.scope.String()).
		WithHint("issue a token that has it: enlace token issue --scope " + a.scope.String())
}

// bearer takes the secret out of the one authorization there may be.
func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", fault.New(fault.Unauthenticated, "no-token", "authorise call", "nobody is logged in").
			WithHint("log in, or send the header authorization: Bearer TOKEN")
	}
	if len(values) == 1 {
		scheme, secret, ok := strings.Cut(values[0], " ")
		if ok && strings.EqualFold(scheme, "bearer") {
			return secret, nil
		}
	}
	return "", fault.New(fault.Unauthenticated, "malformed-token", "authorise call", "the authorization is not one Bearer token").
		WithHint("send exactly one header authorization: Bearer TOKEN")
}
