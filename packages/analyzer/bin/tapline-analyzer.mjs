#!/usr/bin/env node
// Starts tapline-analyzer with a Node that is new enough: this one, or the one that the set-up brought along.
import { launch } from '@tapline/shared/daemon/launch.mjs';

await launch(new URL('../src/main.ts', import.meta.url));
