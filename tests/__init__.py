"""Tests of dbbridge."""
