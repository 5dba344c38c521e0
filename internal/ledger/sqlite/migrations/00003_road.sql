-- Numbers and times are as in 00001. Empty texts are "none".

-- +goose Up

-- The road on which a delivery's receipt came, or that was tried last.
ALTER TABLE delivery ADD COLUMN road TEXT NOT NULL DEFAULT '';
