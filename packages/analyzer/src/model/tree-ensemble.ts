/** Trees as plain data, and their ONNX operator: one node of the graph holds them all, as parallel lists. */
import type { OnnxNode } from './onnx-writer.ts';

/** A node: `feature` -1 is a leaf with `value`; otherwise rows with `x[feature] <= threshold` go to `left`. Indices into the tree's own list. */
export interface TreeNode {
  feature: number;
  threshold: number;
  left: number;
  right: number;
  value: number;
}

export type Tree = TreeNode[];

/** What a tree says of a row that begins at `offset`. */
export function predictTree(tree: Tree, row: ArrayLike<number>, offset = 0): number {
  let node = tree[0] as TreeNode;
  while (node.feature !== -1)
    node = tree[
      (row[offset + node.feature] as number) <= node.threshold ? node.left : node.right
    ] as TreeNode;
  return node.value;
}

/** The sum of all trees' values as `ai.onnx.ml` TreeEnsembleRegressor. */
export function treeEnsembleNode(
  trees: readonly Tree[],
  input: string,
  output: string,
  base: number,
): OnnxNode {
  const list: Record<string, number[]> = {
    treeids: [], nodeids: [], featureids: [], values: [], truenodeids: [], falsenodeids: [],
    targetTree: [], targetNode: [], targetIds: [], weights: [],
  }; // prettier-ignore
  const modes: string[] = [];
  const push = (name: string, value: number): void => {
    list[name]?.push(value);
  };
  trees.forEach((tree, treeId) => {
    tree.forEach((node, nodeId) => {
      push('treeids', treeId);
      push('nodeids', nodeId);
      const isLeaf = node.feature === -1;
      modes.push(isLeaf ? 'LEAF' : 'BRANCH_LEQ');
      push('featureids', isLeaf ? 0 : node.feature);
      push('values', isLeaf ? 0 : node.threshold);
      push('truenodeids', isLeaf ? 0 : node.left);
      push('falsenodeids', isLeaf ? 0 : node.right);
      if (!isLeaf) return;
      push('targetTree', treeId);
      push('targetNode', nodeId);
      push('targetIds', 0);
      push('weights', node.value);
    });
  });
  const ints = (name: string): { ints: readonly number[] } => ({ ints: list[name] ?? [] });
  return {
    op: 'TreeEnsembleRegressor',
    isMl: true,
    inputs: [input],
    outputs: [output],
    attributes: {
      n_targets: { int: 1 },
      aggregate_function: 'SUM',
      post_transform: 'NONE',
      base_values: [base],
      nodes_treeids: ints('treeids'),
      nodes_nodeids: ints('nodeids'),
      nodes_featureids: ints('featureids'),
      nodes_modes: { strings: modes },
      nodes_values: list['values'] ?? [],
      nodes_truenodeids: ints('truenodeids'),
      nodes_falsenodeids: ints('falsenodeids'),
      target_treeids: ints('targetTree'),
      target_nodeids: ints('targetNode'),
      target_ids: ints('targetIds'),
      target_weights: list['weights'] ?? [],
    },
  };
}
