"""Colours: picking, varying, lightening and darkening sRGB triples of 0..255."""

from __future__ import annotations

from random import Random

from recipes.scenes.pen import Colour, mix

__all__ = ["DARK", "WHITE", "any_colour", "dark", "light", "pick", "vary"]

WHITE: Colour = (255, 255, 255)
DARK: Colour = (35, 30, 35)


def vary(rng: Random, colour: Colour, amount: float = 20) -> Colour:
    """`colour` with each value moved by up to `amount`."""
    red, green, blue = (max(0, min(255, round(value + rng.uniform(-amount, amount)))) for value in colour)
    return red, green, blue


def pick(rng: Random, *colours: Colour) -> Colour:
    """One of `colours`, slightly varied."""
    return vary(rng, rng.choice(colours))


def light(colour: Colour, share: float) -> Colour:
    """`colour` moved `share` of the way to white."""
    return mix(colour, (255, 255, 255), share)


def dark(colour: Colour, share: float) -> Colour:
    """`colour` moved `share` of the way to black."""
    return mix(colour, (0, 0, 0), share)


def any_colour(rng: Random) -> Colour:
    """Any colour of the cube."""
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)
