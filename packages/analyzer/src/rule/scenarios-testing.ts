/** For tests: one scenario for each rule, as events that are counted. So many are silent, one more speaks. */
import { CONTROL_SCENARIOS } from './control/control-scenarios-testing.ts';
import { HOST_SCENARIOS } from './host/host-scenarios-testing.ts';
import { FLOOD_SCENARIOS } from './network/flood-scenarios-testing.ts';
import { NETWORK_SCENARIOS } from './network/network-scenarios-testing.ts';
import { SCAN_SCENARIOS } from './network/scan-scenarios-testing.ts';
import { PLANT_SCENARIOS } from './plant/plant-scenarios-testing.ts';
import { SERVICE_SCENARIOS } from './host/service-scenarios-testing.ts';
import type { Scenario } from './scenario-testing.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...SCAN_SCENARIOS,
  ...FLOOD_SCENARIOS,
  ...NETWORK_SCENARIOS,
  ...CONTROL_SCENARIOS,
  ...HOST_SCENARIOS,
  ...SERVICE_SCENARIOS,
  ...PLANT_SCENARIOS,
];
