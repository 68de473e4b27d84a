"""Hands out blocks of whole lines and positions; knows no hits."""
