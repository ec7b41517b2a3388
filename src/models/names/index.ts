/** What people call models: names of the catalogue, of the hub, ids, paths and addresses. */
export {
  type Catalogue,
  type CatalogueSize,
  catalogue,
  memoryNeeded,
  readCatalogue
} from './catalogue.ts'
export { type HubName, hubNameText, isHubName, parseHubName } from './hub-name.ts'
export { type CatalogueName, type ModelName, resolveName } from './resolve.ts'
export { similar } from './similar.ts'
